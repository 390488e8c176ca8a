//! A network that delays everything for longer than the clients' timeouts.

use std::time::Duration;

use super::{PATIENCE, verify};
use crate::harness::broker::Broker;
use crate::harness::proxy::{Fault, Proxy};
use crate::harness::wait_for;

#[test]
#[ignore = "needs a real Kafka"]
fn half_open_connections_are_left_and_nothing_is_lost() {
    let proxy = Proxy::start();
    let _broker = Broker::behind(&proxy);
    let load = "--threads 2 --messages-per-thread 15000 --rate 1000 --partitions 4 --processes 2";
    // The client detects silent brokers after this time; the default is one minute.
    let noticing = "--set kafka.properties.socket.timeout.ms=6000";
    let permanent = "--set producer.message_timeout=120s --set producer.flush_timeout=125s";
    let running = verify(&proxy.address.to_string(), &format!("{load} {noticing} {permanent}"));
    let processed = || running.in_status("consume", "processed");
    wait_for("messages", || running.stderr().contains("INFO reading") && processed() > 1_000);
    let connections = proxy.accepted();
    proxy.set(Fault::HalfOpen);
    wait_for("new connections, to no avail", || proxy.accepted() > connections + 2);
    std::thread::sleep(Duration::from_secs(2));
    proxy.set(Fault::None);
    let before = processed();
    wait_for("messages", || processed() > before + 1_000);
    let ended = running.end_within(PATIENCE).expect_found(&[]);
    assert_eq!((ended.count("acknowledged"), ended.count("processed")), (30_000, 30_000));
    assert_eq!((ended.restarts(), ended.count("redelivered")), (Vec::new(), 0));
}
