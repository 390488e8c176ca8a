//! Questions to the cluster. Every call blocks, each with a deadline: not for an arbiter's thread.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use slog::Logger;

use super::error::{Failure, creation};
use super::events::ClientEvents;
use super::offsets::{Offsets, known_of, list_at, list_of, offsets_of};
use super::{config, coordinator};
use crate::record::TopicPartition;
use crate::settings::Settings;

/// One attempt to reach a broker; short, so that a refused login is noticed at once.
const ATTEMPT: Duration = Duration::from_millis(500);
/// How long a topic that was just created may take to be known to the broker that is asked.
const TOPIC_APPEARS: Duration = Duration::from_millis(1_500);

/// How often it is looked whether all partitions have their leaders.
const LEADERS: Duration = Duration::from_millis(100);

/// A connection to ask by.
pub struct Cluster {
    client: BaseConsumer<ClientEvents>,
    /// What is asked for while waiting for a broker; it need not exist.
    topic: String,
    brokers: String,
    group: String,
    timeout: Duration,
    /// The end of the first contact: what is asked until then shares one deadline.
    first_contact: Instant,
}

impl Cluster {
    /// Connects, and waits until a broker answers. The client asks for `consumer.group`.
    ///
    /// # Errors
    /// [`Failure::Settings`], [`Failure::Unreachable`] after `kafka.connect_timeout`, [`Failure::Refused`] as soon as
    /// it is known.
    pub fn connect(settings: &Settings, logger: &Logger) -> Result<Self, Failure> {
        let config = config::group_inquirer(settings);
        let client: BaseConsumer<ClientEvents> =
            config.create_with_context(ClientEvents::quiet(logger)).map_err(|error| creation(&error))?;
        let cluster = Self {
            client,
            topic: settings.kafka.topic.clone(),
            brokers: settings.kafka.brokers.join(","),
            group: settings.consumer.group.clone(),
            timeout: settings.kafka.connect_timeout,
            first_contact: Instant::now() + settings.kafka.connect_timeout,
        };
        cluster.wait_for_broker()?;
        Ok(cluster)
    }

    fn wait_for_broker(&self) -> Result<(), Failure> {
        let deadline = self.first_contact;
        loop {
            let attempt = ATTEMPT.min(deadline.saturating_duration_since(Instant::now()));
            let answer = self.client.fetch_metadata(Some(&self.topic), attempt.max(Duration::from_millis(10)));
            self.serve_events();
            let Err(error) = answer else { return Ok(()) };
            if let Some(reason) = self.client.context().refused() {
                return Err(Failure::Refused { brokers: self.brokers.clone(), reason });
            }
            if Instant::now() >= deadline {
                let reason = self.client.context().last_error().unwrap_or_else(|| super::error::reason(&error));
                return Err(Failure::Unreachable { brokers: self.brokers.clone(), waited: self.timeout, reason });
            }
        }
    }

    /// How long a request may take.
    fn patience(&self) -> Duration {
        let left = self.first_contact.saturating_duration_since(Instant::now());
        if left.is_zero() { self.timeout } else { left.max(Duration::from_secs(1)) }
    }

    /// A time-out says nothing; the connection's last error does.
    fn failed(&self, what: impl Into<String>, error: &KafkaError) -> Failure {
        let reason = super::error::reason(error);
        let reason = match self.client.context().last_error() {
            Some(last) => {
                format!("{reason} ({last}); can the addresses that the brokers advertise be reached from here?")
            }
            None => reason,
        };
        Failure::Request { what: what.into(), reason }
    }

    /// Errors and log lines come out of the queue only when it is polled.
    fn serve_events(&self) {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(5) {
            let _nothing_is_assigned = self.client.poll(Duration::from_millis(1));
        }
    }

    /// Ends the connection on a thread of its own: librdkafka takes up to 100 ms for it, which nobody has to wait for.
    pub fn leave(self) {
        // Without a thread it ends here, a little later.
        let _unheard = std::thread::Builder::new().name("leave".to_owned()).spawn(move || drop(self));
    }

    /// Where it was asked for at first.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The partitions of `topic`, ascending.
    ///
    /// # Errors
    /// [`Failure::TopicMissing`], or what the broker says.
    pub fn partitions(&self, topic: &str) -> Result<Vec<i32>, Failure> {
        let deadline = Instant::now() + TOPIC_APPEARS;
        loop {
            let found = self.look_for(topic)?;
            match found {
                Some(partitions) => return Ok(partitions),
                None if Instant::now() >= deadline => return Err(Failure::topic_missing(topic, &self.brokers)),
                None => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// The partitions of `topic` if it exists now.
    ///
    /// # Errors
    /// What the broker says.
    pub fn look_for(&self, topic: &str) -> Result<Option<Vec<i32>>, Failure> {
        let metadata = self.metadata(topic, self.patience())?;
        let Some(found) = metadata.topics().iter().find(|candidate| candidate.name() == topic) else { return Ok(None) };
        match found.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => return Ok(None),
            Some(RDKafkaErrorCode::LeaderNotAvailable) if found.partitions().is_empty() => return Ok(None),
            Some(RDKafkaErrorCode::LeaderNotAvailable) => {}
            Some(code) => {
                return Err(Failure::Topic { topic: topic.to_owned(), reason: super::error::code_text(code) });
            }
        }
        let mut partitions: Vec<i32> = found.partitions().iter().map(|partition| partition.id()).collect();
        partitions.sort_unstable();
        Ok((!partitions.is_empty()).then_some(partitions))
    }

    fn metadata(&self, topic: &str, timeout: Duration) -> Result<Metadata, Failure> {
        let what = format!("the metadata of the topic {topic:?} could not be read");
        let answer = self.client.fetch_metadata(Some(topic), timeout);
        self.serve_events();
        answer.map_err(|error| self.failed(what, &error))
    }

    /// The oldest offsets that are still there.
    ///
    /// # Errors
    /// What the brokers say.
    pub fn beginnings(&self, partitions: &[TopicPartition]) -> Result<Offsets, Failure> {
        self.list(partitions, Offset::Beginning)
    }

    /// The next offsets that will be written (or, inside a transaction, that can be read).
    ///
    /// # Errors
    /// What the brokers say.
    pub fn ends(&self, partitions: &[TopicPartition]) -> Result<Offsets, Failure> {
        self.list(partitions, Offset::End)
    }

    /// As [`Cluster::ends`], of those partitions whose leaders answer within `timeout`; others are left out.
    ///
    /// # Errors
    /// Why there is no answer for any of them.
    pub fn ends_within(&self, partitions: &[TopicPartition], timeout: Duration) -> Result<Offsets, Failure> {
        let what = "the partitions' ends could not be read";
        if partitions.is_empty() {
            return Ok(Offsets::new());
        }
        let deadline = Instant::now() + timeout;
        let ask = &|led: &Vec<TopicPartition>| {
            let answer = self.client.offsets_for_times(list_of(led, Offset::End)?, left(deadline));
            Ok(known_of(&answer.map_err(|error| self.failed(what, &error))?))
        };
        // librdkafka waits for all of a question's leaders: each is asked by itself, all at once, so that one that is away
        // holds up none of the others.
        let by_leader = self.by_leader(partitions, deadline)?;
        let answers: Vec<Result<Offsets, Failure>> = std::thread::scope(|scope| {
            // Without a thread its partitions are left out.
            let start = |led| std::thread::Builder::new().spawn_scoped(scope, move || ask(led));
            let asking: Vec<_> = by_leader.values().filter_map(|led| start(led).ok()).collect();
            asking.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        self.serve_events();
        let (mut ends, mut failed) = (Offsets::new(), None);
        for answer in answers {
            match answer {
                Ok(some) => ends.extend(some),
                Err(failure) => failed = Some(failure),
            }
        }
        let nobody = || Failure::Request { what: what.to_owned(), reason: "none of them has a leader".to_owned() };
        if ends.is_empty() { Err(failed.unwrap_or_else(nobody)) } else { Ok(ends) }
    }

    /// These partitions by their leaders; those without one are left out.
    fn by_leader(
        &self,
        partitions: &[TopicPartition],
        deadline: Instant,
    ) -> Result<BTreeMap<i32, Vec<TopicPartition>>, Failure> {
        let topics: BTreeSet<_> = partitions.iter().map(|partition| partition.topic.as_str()).collect();
        let mut leaders = BTreeMap::new();
        for topic in topics {
            let metadata = self.metadata(topic, left(deadline))?;
            for found in metadata.topics().iter().filter(|found| found.name() == topic) {
                let led = found.partitions().iter().filter(|partition| partition.leader() >= 0);
                leaders.extend(led.map(|partition| ((topic, partition.id()), partition.leader())));
            }
        }
        let mut by_leader: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for partition in partitions {
            if let Some(leader) = leaders.get(&(partition.topic.as_str(), partition.partition)) {
                by_leader.entry(*leader).or_default().push(partition.clone());
            }
        }
        Ok(by_leader)
    }

    /// The first offsets of `time_ms` or later; the end where nothing is that young.
    ///
    /// # Errors
    /// What the brokers say.
    pub fn at_time(&self, partitions: &[TopicPartition], time_ms: i64) -> Result<Offsets, Failure> {
        let mut found = self.list(partitions, Offset::Offset(time_ms))?;
        if found.len() < partitions.len() {
            for (partition, end) in self.ends(partitions)? {
                found.entry(partition).or_insert(end);
            }
        }
        Ok(found)
    }

    fn list(&self, partitions: &[TopicPartition], at: Offset) -> Result<Offsets, Failure> {
        let what = "the partitions' offsets could not be read";
        if partitions.is_empty() {
            return Ok(Offsets::new());
        }
        loop {
            let answer = self.client.offsets_for_times(list_of(partitions, at)?, self.patience());
            self.serve_events();
            // A topic that was just made has its leaders a moment later, one partition after the other.
            let waits = match &answer {
                Ok(list) => {
                    list.elements().iter().any(|element| element.error().is_err_and(|error| is_leaderless(&error)))
                }
                Err(error) => is_leaderless(error),
            };
            if waits && Instant::now() < self.first_contact {
                std::thread::sleep(LEADERS);
                continue;
            }
            return offsets_of(&answer.map_err(|error| self.failed(what, &error))?, what);
        }
    }

    /// Who is in `consumer.group` now: client ids and hosts. Members of a group of the protocol of KIP-848 are not told by this
    /// request: they are met at the first commit, which the brokers refuse.
    ///
    /// # Errors
    /// What the brokers say.
    pub fn members(&self) -> Result<Vec<String>, Failure> {
        let what = "the group's members could not be read";
        let deadline = Instant::now() + self.patience();
        let answer = coordinator::ask(deadline, || self.client.fetch_group_list(Some(&self.group), left(deadline)));
        self.serve_events();
        let list = answer.map_err(|error| self.failed(what, &error))?;
        let members = list.groups().iter().flat_map(|group| group.members());
        Ok(members.map(|member| format!("{} at {}", member.client_id(), member.client_host())).collect())
    }

    /// What `consumer.group` has committed.
    ///
    /// # Errors
    /// What the group's coordinator says.
    pub fn committed(&self, partitions: &[TopicPartition]) -> Result<Offsets, Failure> {
        self.committed_within(partitions, self.patience())
    }

    /// As [`Cluster::committed`].
    ///
    /// # Errors
    /// What the group's coordinator says, or nothing within `timeout`.
    pub fn committed_within(&self, partitions: &[TopicPartition], timeout: Duration) -> Result<Offsets, Failure> {
        let what = "the group's committed offsets could not be read";
        if partitions.is_empty() {
            return Ok(Offsets::new());
        }
        let (asked, deadline) = (list_of(partitions, Offset::Invalid)?, Instant::now() + timeout);
        let answer = coordinator::ask(deadline, || self.client.committed_offsets(asked.clone(), left(deadline)));
        self.serve_events();
        offsets_of(&answer.map_err(|error| self.failed(what, &error))?, what)
    }

    /// Commits these for `consumer.group`, which must have no members.
    ///
    /// # Errors
    /// What the group's coordinator says.
    pub fn commit(&self, offsets: &Offsets) -> Result<(), Failure> {
        let what = "offsets could not be committed";
        let (list, deadline) = (list_at(offsets)?, Instant::now() + self.patience());
        let answer = coordinator::ask(deadline, || self.client.commit(&list, CommitMode::Sync));
        self.serve_events();
        answer.map_err(|error| self.failed(what, &error))
    }
}

/// What is left until then; a question always has time for a quick answer.
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(50))
}

fn is_leaderless(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::UnknownTopicOrPartition
        )
    )
}
