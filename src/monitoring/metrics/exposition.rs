//! Metric families and their encoding in the Prometheus text format.

use std::collections::HashMap;

use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use crate::monitoring::status::HistogramStatus;

/// The prefix of all metric names.
const PREFIX: &str = "kafka_actors_";

/// The labels of a series, in output order.
pub(super) type Labels = Vec<(&'static str, String)>;

/// How rows with equal labels are merged: a scrape may contain each series only once.
#[derive(Clone, Copy)]
enum Merge {
    Sum,
    Largest,
}

/// Metric families in the order in which they were added.
#[derive(Default)]
pub(super) struct MetricFamilies(Vec<MetricFamily>);

impl MetricFamilies {
    /// Adds a counter. Its name ends in `_total`.
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

    /// Adds a gauge whose values can be added.
    pub(super) fn gauge(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (Labels, f64)>) {
        self.gauges(name, help, merged(rows, Merge::Sum));
    }

    /// Adds a gauge whose values cannot be added: of rows with equal labels, the largest value is used.
    pub(super) fn largest(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (Labels, f64)>) {
        self.gauges(name, help, merged(rows, Merge::Largest));
    }

    /// Adds a histogram of durations.
    pub(super) fn histogram(&mut self, name: &str, help: &str, labels: Labels, times: &HistogramStatus) {
        let bucket = |bound: f64, count| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        };
        // The encoder adds the bucket `+Inf`.
        let finite = times.buckets.iter().filter(|bucket| bucket.le_seconds.is_finite());
        let mut histogram = Histogram::default();
        histogram.set_bucket(finite.map(|row| bucket(row.le_seconds, row.count)).collect());
        histogram.set_sample_count(times.count);
        histogram.set_sample_sum(times.sum_seconds);
        let mut metric = metric(labels);
        metric.set_histogram(histogram);
        self.family(name, help, MetricType::HISTOGRAM, vec![metric]);
    }

    /// Encodes the families in the Prometheus text format, version 0.0.4.
    pub(super) fn text(&self) -> String {
        // The encoder fails only for a family without rows or name, which does not exist here.
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

/// Merges rows with equal labels and keeps the order of their first occurrence. Non-finite values are dropped.
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
