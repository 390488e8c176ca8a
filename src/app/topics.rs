//! `topics list | create | describe | alter | delete`.

use std::io::{BufRead, IsTerminal, Write, stderr, stdin};

use slog::{Logger, info};

use crate::cli::{AlteredTopic, DeleteTopics, TopicSpec, TopicsCommand};
use crate::exit::ExitStatus;
use crate::kafka::cluster_client::ClusterClient;
use crate::kafka::error::KafkaError;
use crate::kafka::startup::when_ready;
use crate::kafka::topic_admin::{self, Listed, TopicDescription, TopicResult};
use crate::settings::Settings;
use crate::util::format::pluralize;
use crate::util::text_table::{Align, TextTable};

/// Runs the command; `out` gets the output of `list` and `describe`.
pub fn run(command: &TopicsCommand, settings: &Settings, logger: &Logger, out: &mut dyn Write) -> ExitStatus {
    let result = match command {
        TopicsCommand::List(list) => return list_all(list.json, settings, logger, out),
        TopicsCommand::Create(create) => create_all(&create.topics, settings, logger),
        TopicsCommand::Describe(describe) => return describe_all(&describe.names, settings, logger, out),
        TopicsCommand::Alter(alter) => alter_all(&alter.topics, settings, logger),
        TopicsCommand::Delete(delete) => delete_all(delete, settings, logger),
    };
    result.unwrap_or_else(ExitStatus::from)
}

fn create_all(new: &[TopicSpec], settings: &Settings, logger: &Logger) -> Result<ExitStatus, KafkaError> {
    for topic in new {
        when_ready(settings, logger, |cluster| create(topic, settings, &cluster, logger))?;
    }
    Ok(ExitStatus::clean("every topic exists"))
}

fn create(topic: &TopicSpec, settings: &Settings, cluster: &ClusterClient, logger: &Logger) -> Result<(), KafkaError> {
    let TopicSpec { name, partitions, replication } = topic;
    match topic_admin::create(settings, cluster, logger, name, *partitions, *replication, &[])? {
        TopicResult::Now => {
            info!(logger, "topic created"; "topic" => name, "partitions" => partitions, "replication" => replication)
        }
        TopicResult::Before => info!(logger, "the topic exists already"; "topic" => name, "partitions" => partitions),
    }
    Ok(())
}

fn alter_all(altered: &[AlteredTopic], settings: &Settings, logger: &Logger) -> Result<ExitStatus, KafkaError> {
    for AlteredTopic { name, partitions } in altered {
        let add = |cluster| topic_admin::add_partitions(settings, &cluster, logger, name, *partitions);
        match when_ready(settings, logger, add)? {
            TopicResult::Now => info!(logger, "partitions added"; "topic" => name, "partitions" => partitions),
            TopicResult::Before => {
                info!(logger, "the topic has that many partitions already"; "topic" => name, "partitions" => partitions);
            }
        }
    }
    Ok(ExitStatus::clean("every topic has its partitions"))
}

fn delete_all(delete: &DeleteTopics, settings: &Settings, logger: &Logger) -> Result<ExitStatus, KafkaError> {
    // A script cannot confirm, and a user must see the prompt to confirm.
    if !delete.yes && stdin().is_terminal() && stderr().is_terminal() {
        let found = when_ready(settings, logger, |cluster| {
            let found = delete.names.iter().map(|name| Ok((name.as_str(), cluster.partitions(name)?.len())));
            found.collect::<Result<Vec<_>, KafkaError>>()
        });
        let prompt = prompt(&found?);
        match is_confirmed(&prompt, &mut stdin().lock(), &mut stderr()) {
            Ok(true) => {}
            Ok(false) => return Ok(ExitStatus::failed("nothing was deleted: it was not confirmed")),
            Err(error) => {
                return Ok(ExitStatus::failed(format!(
                    "nothing was deleted: could not read the confirmation: {error}; --yes skips it"
                )));
            }
        }
    }
    for name in &delete.names {
        topic_admin::delete(settings, logger, name)?;
        info!(logger, "topic deleted"; "topic" => name);
    }
    Ok(ExitStatus::clean(format!("{} deleted", pluralize(delete.names.len() as u64, "topic"))))
}

/// The prompt with the topics to delete and their partitions.
fn prompt(topics: &[(&str, usize)]) -> String {
    let counted =
        |partitions| if partitions == 1 { "1 partition".to_owned() } else { format!("{partitions} partitions") };
    let named: Vec<_> = topics.iter().map(|(name, partitions)| format!("{name} ({})", counted(*partitions))).collect();
    format!("Delete {} with all messages? [y/N] ", named.join(", "))
}

/// Prompts and reads a line: `y` or `yes` confirms; anything else, including the end of the input, does not.
fn is_confirmed(prompt: &str, input: &mut dyn BufRead, output: &mut dyn Write) -> std::io::Result<bool> {
    output.write_all(prompt.as_bytes())?;
    output.flush()?;
    let mut line = String::new();
    input.read_line(&mut line)?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn list_all(json: bool, settings: &Settings, logger: &Logger, out: &mut dyn Write) -> ExitStatus {
    let listed = when_ready(settings, logger, |cluster| topic_admin::list(&cluster));
    match listed {
        Ok(topics) if json => match topics.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>() {
            Ok(lines) => ExitStatus::from_stdout_result(
                out.write_all(lines.iter().map(|line| format!("{line}\n")).collect::<String>().as_bytes()),
            ),
            Err(error) => ExitStatus::failed(format!("the topics could not be written as JSON: {error}")),
        },
        Ok(topics) => ExitStatus::from_stdout_result(out.write_all(list_table(&topics).as_bytes())),
        Err(failure) => failure.into(),
    }
}

fn list_table(topics: &[Listed]) -> String {
    let columns = [("topic", Align::Left), ("partitions", Align::Right(0)), ("replication factor", Align::Right(0))];
    let mut table = TextTable::new(columns);
    for Listed { name, partitions, replication_factor } in topics {
        table.row([name.clone(), partitions.to_string(), replication_factor.to_string()]);
    }
    table.to_string()
}

fn describe_all(names: &[String], settings: &Settings, logger: &Logger, out: &mut dyn Write) -> ExitStatus {
    let described = when_ready(settings, logger, |cluster| {
        let names = if names.is_empty() { configured_topics(settings, &cluster)? } else { names.to_vec() };
        names.iter().map(|name| topic_admin::describe(&cluster, name)).collect::<Result<Vec<_>, _>>()
    });
    match described {
        Ok(rows) => {
            ExitStatus::from_stdout_result(out.write_all(table(&rows.concat(), &settings.consumer.group_id).as_bytes()))
        }
        Err(failure) => failure.into(),
    }
}

/// The consumed topics and their dead-letter topics.
fn configured_topics(settings: &Settings, cluster: &ClusterClient) -> Result<Vec<String>, KafkaError> {
    let mut names = settings.consumed_topics();
    for topic in settings.dead_letter_topics() {
        if cluster.partitions_if_exists(&topic)?.is_some() {
            names.push(topic);
        }
    }
    Ok(names)
}

fn table(rows: &[TopicDescription], group: &str) -> String {
    let numbers = ["partition", "beginning", "end", "committed", "lag"].map(|title| (title, Align::Right(9)));
    let note = format!(" (group {group})");
    let mut table =
        TextTable::new([("topic", Align::Left)].into_iter().chain(numbers).chain([(note.as_str(), Align::Left)]));
    for row in rows {
        let committed = row.committed.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
        let lag = row.end - row.committed.unwrap_or(row.beginning);
        let numbers = [row.beginning, row.end].map(|offset| offset.to_string());
        table.row(
            [row.partition.topic.clone(), row.partition.partition.to_string()]
                .into_iter()
                .chain(numbers)
                .chain([committed, lag.to_string()]),
        );
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::TopicPartition;

    #[test]
    fn only_a_yes_confirms() {
        let prompt = prompt(&[("orders", 6), ("audit", 1)]);
        assert_eq!(prompt, "Delete orders (6 partitions), audit (1 partition) with all messages? [y/N] ");
        for (reply, confirmed) in [
            ("y\n", true),
            (" YES \n", true),
            ("yes", true),
            ("", false),
            ("\n", false),
            ("n\n", false),
            ("yesterday\n", false),
            ("\ny\n", false),
        ] {
            let mut prompted = Vec::new();
            assert_eq!(is_confirmed(&prompt, &mut reply.as_bytes(), &mut prompted).unwrap(), confirmed, "{reply:?}");
            assert_eq!(prompted, prompt.as_bytes());
        }
        assert!(is_confirmed("", &mut [0xff, b'\n'].as_slice(), &mut Vec::new()).is_err(), "no text");
    }

    #[test]
    fn topics_are_listed_under_their_heads() {
        let topic = |name: &str, partitions| Listed { name: name.to_owned(), partitions, replication_factor: 3 };
        let text = list_table(&[topic("a", 1_000), topic("a-longer-name", 6)]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "topic          partitions  replication factor");
        assert_eq!(lines[1], "a                    1000                   3");
        assert_eq!(lines[2], "a-longer-name           6                   3");
    }

    #[test]
    fn lag_counts_from_the_commit_or_else_from_the_oldest_message() {
        let row =
            |committed| TopicDescription { partition: TopicPartition::new("t", 0), beginning: 5, end: 20, committed };
        let text = table(&[row(Some(15)), row(None)], "g");
        let lags: Vec<_> = text.lines().skip(1).map(|line| line.split_whitespace().last().unwrap()).collect();
        assert_eq!(lags, ["5", "15"]);
        let expected = "topic  partition  beginning        end  committed        lag   (group g)\n\
                        t              0          5         20         15          5\n";
        assert!(text.starts_with(expected), "{text}");
    }
}
