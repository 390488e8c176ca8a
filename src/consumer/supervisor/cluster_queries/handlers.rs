//! The handlers of the queries.

use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::warn;

use super::super::messages::{
    Connect, DiscoverNewPartitions, DiscoverPartitions, FetchCommitted, FetchWatermarks, FindGaps, GroupCommits,
    Recommit, RefreshCommits, RefreshCredentials, Reopen, VerifyCommitted,
};
use super::ClusterQueries;
use crate::kafka::cluster_client::ClusterClient;
use crate::kafka::error::KafkaError;
use crate::kafka::offset_gaps::GapFinder;
use crate::kafka::offsets::Offsets;

/// The timeout of the high watermarks at the end of a run, where commits are what counts and the shutdown timeout may be near.
const LAST_ENDS: Duration = Duration::from_secs(1);
/// The timeout of a search for gaps, which is repeated.
const GAPS: Duration = Duration::from_secs(1);

impl Actor for ClusterQueries {
    type Context = SyncContext<Self>;
}

impl Handler<Connect> for ClusterQueries {
    type Result = MessageResult<Connect>;

    fn handle(&mut self, _: Connect, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.when_ready(Self::find_topics))
    }
}

impl Handler<DiscoverPartitions> for ClusterQueries {
    type Result = MessageResult<DiscoverPartitions>;

    fn handle(&mut self, _: DiscoverPartitions, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.when_ready(Self::discover))
    }
}

impl Handler<FetchWatermarks> for ClusterQueries {
    type Result = MessageResult<FetchWatermarks>;

    fn handle(&mut self, FetchWatermarks(partitions): FetchWatermarks, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.ends(&partitions))
    }
}

impl Handler<Reopen> for ClusterQueries {
    type Result = MessageResult<Reopen>;

    fn handle(&mut self, Reopen(topics): Reopen, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.reopen(&topics))
    }
}

impl Handler<VerifyCommitted> for ClusterQueries {
    type Result = MessageResult<VerifyCommitted>;

    fn handle(&mut self, VerifyCommitted(partitions): VerifyCommitted, _: &mut Self::Context) -> Self::Result {
        // A partition without a leader has committed offsets all the same.
        let ends = |cluster: &ClusterClient| cluster.high_watermarks_within(&partitions, LAST_ENDS).unwrap_or_default();
        MessageResult(self.read_back(&partitions, ends))
    }
}

impl Handler<Recommit> for ClusterQueries {
    type Result = MessageResult<Recommit>;

    fn handle(&mut self, Recommit(offsets, partitions): Recommit, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.commit(&offsets).and_then(|()| self.read_back(&partitions, |_| Offsets::new())))
    }
}

impl Handler<FetchCommitted> for ClusterQueries {
    type Result = MessageResult<FetchCommitted>;

    fn handle(
        &mut self,
        FetchCommitted { partitions, deadline }: FetchCommitted,
        _: &mut Self::Context,
    ) -> Self::Result {
        if self.settings.consumer.read_only {
            return MessageResult(Ok(GroupCommits { committed: Offsets::new(), foreign: Vec::new() }));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // The caller has repeated the query meanwhile.
            return MessageResult(Err(KafkaError::Request {
                what: "the group's committed offsets could not be read".to_owned(),
                reason: "other questions took too long".to_owned(),
            }));
        }
        let commits = self.ask(|cluster| cluster.committed_with_metadata_within(&partitions, left));
        MessageResult(commits.map(|commits| self.separate(commits)))
    }
}

impl Handler<RefreshCredentials> for ClusterQueries {
    type Result = ();

    fn handle(&mut self, _: RefreshCredentials, _: &mut Self::Context) {
        // Created again on its next use, with the password that is current then.
        self.gap_finder = None;
        let security = &self.settings.kafka.security;
        if let Some(Err(reason)) = self.cluster.as_ref().map(|cluster| cluster.refresh_credentials(security)) {
            warn!(self.logger, "the supervisor's client keeps the password that it has: {reason}");
        }
    }
}

impl Handler<RefreshCommits> for ClusterQueries {
    type Result = MessageResult<RefreshCommits>;

    fn handle(&mut self, RefreshCommits(mut offsets): RefreshCommits, _: &mut Self::Context) -> Self::Result {
        let names: Vec<_> = offsets.keys().cloned().collect();
        let commits = self.ask(|cluster| cluster.committed_with_metadata(&names));
        MessageResult(commits.map(|commits| self.separate(commits)).and_then(|found| {
            found.foreign.iter().for_each(|foreign| _ = offsets.remove(&foreign.partition));
            // The last commit of a worker, which the supervisor may not know.
            offsets.extend(found.committed.clone());
            self.commit(&offsets)?;
            Ok(found)
        }))
    }
}

impl Handler<FindGaps> for ClusterQueries {
    type Result = MessageResult<FindGaps>;

    fn handle(&mut self, FindGaps(positions): FindGaps, _: &mut Self::Context) -> Self::Result {
        let finder = self.gap_finder.take().map_or_else(|| GapFinder::new(&self.settings, &self.logger), Ok);
        MessageResult(finder.and_then(|finder| {
            // A finder that has failed is not used again.
            let found = finder.find(&positions, GAPS)?;
            self.gap_finder = Some(finder);
            Ok(found)
        }))
    }
}

impl Handler<DiscoverNewPartitions> for ClusterQueries {
    type Result = MessageResult<DiscoverNewPartitions>;

    fn handle(&mut self, DiscoverNewPartitions(known): DiscoverNewPartitions, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.find_new(&known))
    }
}
