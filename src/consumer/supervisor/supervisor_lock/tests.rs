use super::*;

const BOOT: &str = "0a1b2c3d";

fn supervisor(host: &str, pid: u32) -> Supervisor {
    let process =
        ProcessIdentity { host: host.to_owned(), pid, boot: BOOT.to_owned(), namespace: 4_026_531_836, started: 77 };
    Supervisor { process, since: 1_795_725_296, nonce: 0x12ab }
}

fn member(client_id: &str, member_id: &str) -> GroupMember {
    GroupMember { client_id: client_id.to_owned(), member_id: member_id.to_owned(), address: "/10.0.0.7".to_owned() }
}

fn see(own: &Supervisor, others: &[GroupMember]) -> Survey {
    survey(&own.client_id(), others, |process| match process.host.as_str() {
        "here" => Liveness::Running,
        "dead" => Liveness::Gone,
        "hidden" => Liveness::Hidden,
        _ => Liveness::Elsewhere,
    })
}

#[test]
fn a_client_id_names_its_supervisor() {
    let (own, other) = (supervisor("here", 1), supervisor("db-1.example.org", 4_711));
    assert_eq!(Supervisor::parse(&other.client_id()), Some(other.clone()));
    let rivals = see(&own, &[member(&other.client_id(), "m")]).rivals;
    assert_eq!(
        rivals[0].text,
        "a supervisor on host \"db-1.example.org\", pid 4711, since 2026-11-26T20:34:56Z (10.0.0.7)"
    );
    for nonsense in ["", "kafka-actors", "x/h/1/2/a.1.2/00000001", "kafka-actors-supervisor/h/1/2/a.1/00000001"] {
        assert_eq!(Supervisor::parse(nonsense), None, "{nonsense}");
        assert_eq!(see(&own, &[member(nonsense, "m")]).rivals[0].text, format!("the client {nonsense:?} (10.0.0.7)"));
    }
    assert!(Supervisor { since: u64::MAX, ..own }.to_string().contains("9999-12-31"));
}

#[test]
fn whoever_is_alone_in_the_group_has_the_lock() {
    let own = supervisor("here", 2);
    let (id, mine) = (own.client_id(), member(&own.client_id(), "m-2"));
    let of = |members: &[GroupMember]| claim(&id, &see(&own, members));
    assert_eq!(of(&[]), Claim::Pending);
    assert_eq!(of(std::slice::from_ref(&mine)), Claim::Won("m-2".to_owned()));
    let (lower, higher) = (supervisor("here", 1).client_id(), supervisor("here", 3).client_id());
    assert_eq!(of(&[mine.clone(), member(&lower, "m-1")]), Claim::Lost);
    assert_eq!(of(&[mine.clone(), member(&higher, "m-3")]), Claim::Contended);
    assert_eq!(of(&[mine.clone(), member(&higher, "m-3"), member(&lower, "m-1")]), Claim::Lost);
    let dead = supervisor("dead", 9);
    assert_eq!(of(&[mine.clone(), member(&dead.client_id(), "m-9")]), Claim::Won("m-2".to_owned()));
    assert_eq!(see(&own, &[member(&dead.client_id(), "m-9")]).dead, [dead.process]);
    let hidden = supervisor("hidden", 1).client_id();
    let seen = see(&own, &[mine, member(&hidden, "m-1")]);
    assert!(seen.rivals[0].is_hidden && claim(&id, &seen) == Claim::Contended);
}

/// All interleavings of two supervisors that check, join, and check again: never do both have the lock, and one
/// always has it or stays to get it.
#[test]
fn of_two_that_join_at_the_same_moment_at_most_one_has_the_lock() {
    let both = [supervisor("here", 1), supervisor("here", 2)];
    // Each first joins, then checks; the order of these four steps is any in which each joins before it checks.
    for order in [[0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]] {
        let (mut members, mut joined, mut claims) = (Vec::new(), [false; 2], [None, None]);
        for who in order {
            let id = both[who].client_id();
            if std::mem::replace(&mut joined[who], true) {
                claims[who] = Some(claim(&id, &see(&both[who], &members)));
            } else {
                members.push(member(&id, "m"));
            }
        }
        let won = claims.iter().filter(|claim| matches!(claim, Some(Claim::Won(_)))).count();
        let lost = claims.iter().filter(|claim| **claim == Some(Claim::Lost)).count();
        assert!(won <= 1 && lost <= 1, "{order:?}: {claims:?}");
    }
}

#[test]
fn a_holder_stays_one_while_it_is_a_member_and_loses_the_lock_to_another_one_afterwards() {
    let (own, other) = (supervisor("here", 2), supervisor("there", 1));
    let (mine, again) = (member(&own.client_id(), "m-1"), member(&own.client_id(), "m-2"));
    let rival = member(&other.client_id(), "o-1");
    let of = |members: &[GroupMember]| hold("m-1", &see(&own, members));
    assert_eq!(of(std::slice::from_ref(&mine)), Hold::Confirmed);
    assert_eq!(of(&[mine.clone(), rival.clone()]), Hold::Confirmed, "the other one asks for it, and leaves");
    assert_eq!(of(&[mine, again.clone()]), Hold::Confirmed);
    assert_eq!(of(&[]), Hold::Expired);
    assert_eq!(of(std::slice::from_ref(&again)), Hold::Rejoined("m-2".to_owned()));
    for members in [vec![rival.clone()], vec![again, rival]] {
        assert!(matches!(of(&members), Hold::Lost(text) if text.contains("\"there\", pid 1")));
    }
}

#[test]
fn nothing_is_committed_without_the_lock_and_nothing_begun_after_a_freeze() {
    let lease = Lease::confirmed(1_000);
    // The brokers are unavailable: a check every second, without a reply.
    let away = (2..=60).fold(lease, |lease, second| lease.unconfirmed(second * 1_000));
    assert_eq!(away, Lease { process_until: 60_000 + PROCESSING_LEASE_MS, commit_until: 1_000 + COMMIT_LEASE_MS });
    // The process was suspended for a minute, and gets no reply when it continues.
    assert_eq!(lease.unconfirmed(61_000), lease);
    let session = crate::kafka::group_lock::LOCK_SESSION_TIMEOUT.as_millis() as u64;
    assert!(COMMIT_LEASE_MS + 2_000 < session && PROCESSING_LEASE_MS < COMMIT_LEASE_MS);
}
