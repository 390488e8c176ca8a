//! `topics create | describe | delete`.

use std::io::Write;

use slog::{Logger, info};

use crate::cli::{NewTopic, TopicsCommand};
use crate::exit::Exit;
use crate::kafka::cluster::Cluster;
use crate::kafka::error::Failure;
use crate::kafka::topics::{self, Described, Done};
use crate::settings::Settings;

/// Runs the command; `out` gets what `describe` shows.
pub fn run(command: &TopicsCommand, settings: &Settings, logger: &Logger, out: &mut dyn Write) -> Exit {
    let result = match command {
        TopicsCommand::Create(create) => create_all(&create.topics, settings, logger),
        TopicsCommand::Describe(describe) => return describe_all(&describe.names, settings, logger, out),
        TopicsCommand::Delete(delete) => delete_all(&delete.names, settings, logger),
    };
    result.unwrap_or_else(Exit::from)
}

/// Deletes a topic.
///
/// # Errors
/// What the brokers say.
pub fn remove(settings: &Settings, topic: &str, logger: &Logger) -> Result<(), Failure> {
    topics::delete(settings, &Cluster::connect(settings, logger)?, logger, topic)
}

/// Makes the settings' topic if it does not exist; how many partitions it has.
///
/// # Errors
/// What the brokers say.
pub fn ensure(settings: &Settings, new: NewTopic, logger: &Logger) -> Result<usize, Exit> {
    let cluster = Cluster::connect(settings, logger)?;
    let topic = &settings.kafka.topic;
    if let Some(found) = cluster.look_for(topic)? {
        info!(logger, "the topic exists"; "topic" => topic, "partitions" => found.len());
        return Ok(found.len());
    }
    create(&new, settings, &cluster, logger)?;
    Ok(usize::try_from(new.partitions).unwrap_or_default())
}

fn create_all(new: &[NewTopic], settings: &Settings, logger: &Logger) -> Result<Exit, Failure> {
    let cluster = Cluster::connect(settings, logger)?;
    for topic in new {
        create(topic, settings, &cluster, logger)?;
    }
    Ok(Exit::clean(format!("{} topic(s) are there", new.len())))
}

fn create(topic: &NewTopic, settings: &Settings, cluster: &Cluster, logger: &Logger) -> Result<(), Failure> {
    let NewTopic { name, partitions, replication } = topic;
    match topics::create(settings, cluster, logger, name, *partitions, *replication)? {
        Done::Now => {
            info!(logger, "topic made"; "topic" => name, "partitions" => partitions, "replication" => replication)
        }
        Done::Before => {
            let found = cluster.partitions(name)?.len();
            if found != *partitions as usize {
                let reason =
                    format!("it exists already, with {found} partitions and not {partitions}, and stays as it is");
                return Err(Failure::Topic { topic: name.clone(), reason });
            }
            info!(logger, "the topic exists already"; "topic" => name, "partitions" => found);
        }
    }
    Ok(())
}

fn delete_all(names: &[String], settings: &Settings, logger: &Logger) -> Result<Exit, Failure> {
    let cluster = Cluster::connect(settings, logger)?;
    for name in names {
        topics::delete(settings, &cluster, logger, name)?;
        info!(logger, "topic deleted"; "topic" => name);
    }
    Ok(Exit::clean(format!("{} topic(s) deleted", names.len())))
}

fn describe_all(names: &[String], settings: &Settings, logger: &Logger, out: &mut dyn Write) -> Exit {
    let described = Cluster::connect(settings, logger).and_then(|cluster| {
        let names = if names.is_empty() { own_topics(settings, &cluster)? } else { names.to_vec() };
        names.iter().map(|name| topics::describe(&cluster, name)).collect::<Result<Vec<_>, _>>()
    });
    match described {
        Ok(rows) => Exit::shown(out.write_all(table(&rows.concat(), &settings.consumer.group).as_bytes())),
        Err(failure) => failure.into(),
    }
}

/// What is read, and what dead letters there are.
fn own_topics(settings: &Settings, cluster: &Cluster) -> Result<Vec<String>, Failure> {
    let mut names = settings.consumed_topics();
    for topic in settings.dead_letter_topics() {
        if cluster.look_for(&topic)?.is_some() {
            names.push(topic);
        }
    }
    Ok(names)
}

fn table(rows: &[Described], group: &str) -> String {
    let width = rows.iter().map(|row| row.partition.topic.len()).max().unwrap_or(0).max("topic".len());
    let mut text =
        format!("{:width$}  partition  beginning        end  committed        lag   (group {group})\n", "topic");
    for row in rows {
        let committed = row.committed.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
        let lag = row.end - row.committed.unwrap_or(row.beginning);
        text.push_str(&format!(
            "{:width$}{:>11}{:>11}{:>11}{committed:>11}{lag:>11}\n",
            row.partition.topic, row.partition.partition, row.beginning, row.end
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::TopicPartition;

    #[test]
    fn lag_counts_from_the_commit_or_else_from_the_oldest_message() {
        let row = |committed| Described { partition: TopicPartition::new("t", 0), beginning: 5, end: 20, committed };
        let text = table(&[row(Some(15)), row(None)], "g");
        let lags: Vec<_> = text.lines().skip(1).map(|line| line.split_whitespace().last().unwrap()).collect();
        assert_eq!(lags, ["5", "15"]);
    }
}
