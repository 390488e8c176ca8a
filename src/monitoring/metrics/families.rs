//! Metric families that grow row by row, and their text.

use std::collections::HashMap;

use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use crate::monitoring::status::HistogramStatus;

/// What all names begin with.
const PREFIX: &str = "kafka_actors_";

/// A series' labels, in the order in which they are written.
pub(super) type Labels = Vec<(&'static str, String)>;

/// How rows with the same labels become one: a series may stand in a text only once.
#[derive(Clone, Copy)]
enum Merge {
    Sum,
    Largest,
}

/// All that is told, in the order in which it was added.
#[derive(Default)]
pub(super) struct Families(Vec<MetricFamily>);

impl Families {
    /// What only grows. Its name ends in `_total`.
    pub(super) fn counter(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (Labels, f64)>) {
        let rows = merged(rows, Merge::Sum).into_iter().map(|(labels, value)| {
            let mut counter = Counter::default();
            counter.set_value(value);
            let mut metric = metric(labels);
            metric.set_counter(counter);
            metric
        });
        self.family(name, help, MetricType::COUNTER, rows.collect());
    }

    /// What goes up and down, and adds up.
    pub(super) fn gauge(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (Labels, f64)>) {
        self.gauges(name, help, merged(rows, Merge::Sum));
    }

    /// What goes up and down, and does not add up: of rows that become one, the largest counts.
    pub(super) fn largest(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (Labels, f64)>) {
        self.gauges(name, help, merged(rows, Merge::Largest));
    }

    /// How long something took.
    pub(super) fn histogram(&mut self, name: &str, help: &str, labels: Labels, times: &HistogramStatus) {
        let bucket = |bound: f64, count| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        };
        // The encoder writes the last bucket, +Inf, by itself.
        let finite = times.buckets.iter().filter(|bucket| bucket.le_seconds.is_finite());
        let mut histogram = Histogram::default();
        histogram.set_bucket(finite.map(|row| bucket(row.le_seconds, row.count)).collect());
        histogram.set_sample_count(times.count);
        histogram.set_sample_sum(times.sum_seconds);
        let mut metric = metric(labels);
        metric.set_histogram(histogram);
        self.family(name, help, MetricType::HISTOGRAM, vec![metric]);
    }

    /// The text format, version 0.0.4.
    pub(super) fn text(&self) -> String {
        // Fails for a family without rows or name only; there is none.
        TextEncoder::new().encode_to_string(&self.0).unwrap_or_else(|error| format!("# {error}\n"))
    }

    fn gauges(&mut self, name: &str, help: &str, rows: Vec<(Labels, f64)>) {
        let rows = rows.into_iter().map(|(labels, value)| {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            let mut metric = metric(labels);
            metric.set_gauge(gauge);
            metric
        });
        self.family(name, help, MetricType::GAUGE, rows.collect());
    }

    fn family(&mut self, name: &str, help: &str, kind: MetricType, rows: Vec<Metric>) {
        if rows.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(format!("{PREFIX}{name}"));
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(rows);
        self.0.push(family);
    }
}

/// Each series once, in the order in which they came first. What is no number is left out.
fn merged(rows: impl IntoIterator<Item = (Labels, f64)>, merge: Merge) -> Vec<(Labels, f64)> {
    let mut places = HashMap::new();
    let mut merged: Vec<(Labels, f64)> = Vec::new();
    for (labels, value) in rows {
        if !value.is_finite() {
            continue;
        }
        let place = *places.entry(labels.clone()).or_insert(merged.len());
        match (merged.get_mut(place), merge) {
            (None, _) => merged.push((labels, value)),
            (Some((_, sum)), Merge::Sum) => *sum += value,
            (Some((_, largest)), Merge::Largest) => *largest = largest.max(value),
        }
    }
    merged
}

fn metric(labels: Labels) -> Metric {
    let pair = |(name, value): (&str, String)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value);
        pair
    };
    Metric::from_label(labels.into_iter().map(pair).collect())
}
