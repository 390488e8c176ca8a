//! The page in a real browser, compared with statuses that the tests create. `cargo test --test tests -- --ignored page::` runs
//! them; they need `apt-get install chromium chromium-driver`, and no broker.

mod documents;
mod hostile;
mod looks;
mod server;

use std::time::Duration;

use kafka_actors::internal::status::{EventLevel, InFlightStatus, Status};
use serde_json::json;

use self::documents::{consuming, event, troubled, verifying};
use self::server::Server;
use crate::harness::browser::Browser;

/// Elements beyond the window's right edge that are not in a scrolling box.
const SIDEWAYS: &str = "[...document.body.querySelectorAll('*')].filter(at => at.getBoundingClientRect().right > innerWidth + 1 \
    && !at.closest('.scroll') && !at.closest('.unseen')).map(at => at.outerHTML.slice(0, 200))";
/// The current and the maximum horizontal scroll offset of the page.
const BEYOND: &str = "[scrollX, document.documentElement.scrollWidth - document.documentElement.clientWidth]";

/// A browser at the page of a server with `status`; returns when the page shows it.
fn shown(status: &Status) -> (Browser, Server) {
    let (browser, server) = (Browser::start(), Server::start());
    browser.size(1280, 900);
    server.show(status);
    browser.open(&server.url());
    browser.wait_until("document.getElementById('linked').textContent === '● live'");
    (browser, server)
}

/// Shows another status, and waits until it is visible.
fn show(browser: &Browser, server: &Server, status: &Status) {
    server.show(status);
    browser.wait_until(&format!("status.at === {}", json!(status.at)));
}

fn assert_quiet(browser: &Browser) {
    assert_eq!(browser.console(), Vec::<String>::new());
}

#[test]
#[ignore = "needs chromium"]
fn it_shows_what_the_status_has() {
    let mut status = consuming(600, 3, 12);
    let partition = &mut status.consume.as_mut().unwrap().partitions[1];
    partition.in_flight = Some(InFlightStatus { offset: 40_007, age_seconds: 3.25 });
    let (browser, server) = shown(&status);
    let consume = status.consume.as_ref().unwrap();
    let first =
        |text: &str, words: &[&str]| words.iter().for_each(|word| assert!(text.contains(word), "{word:?} in {text}"));

    first(&browser.text("header"), &["kafka-actors consume", "running, ready", "live"]);
    first(&browser.text("#about"), &["kafka-7", "4210", "up 10 min", "group shipping", "orders, payments", "manual"]);
    let grouped =
        |number: u64| browser.eval(&format!("({number}).toLocaleString('en-US')")).as_str().unwrap().to_owned();
    let numbers = browser.text("#numbers");
    first(
        &numbers,
        &[&grouped(consume.processed), &grouped(consume.lag), "Restarts of workers\n0\n✓ none", "Dead letters\n0"],
    );
    let rate = (status.history[299].processed - status.history[294].processed + 2) / 5;
    first(&numbers, &[&format!("Processed a second\n{}", grouped(rate))]);

    assert_eq!(browser.eval("document.querySelectorAll('.worker').length"), 3);
    let worker = browser.text(".worker:nth-child(2)");
    first(&worker, &["worker 1", "● reading", "4301", "64 MiB", "orders/1", "orders/4", "orders/10"]);
    let partition = &consume.partitions[1];
    let row = browser.eval("[...document.querySelectorAll('.worker tbody tr')].find(row => row.cells[0].textContent === 'orders/1').innerText");
    let next = u64::try_from(partition.position).unwrap();
    let end = u64::try_from(partition.high_watermark).unwrap();
    first(
        row.as_str().unwrap(),
        &[
            &format!("{} of {}", grouped(next), grouped(end)),
            &partition.lag.to_string(),
            &grouped(next - 211),
            "3.3 s, at 40,007",
        ],
    );
    first(&browser.text("#latency"), &["scheduled → processed", "6.2 ms", "380 ms", "committing"]);
    first(&browser.text("#clients"), &["worker 2", "1.2 ms", "18 ms", "1, 0"]);
    first(&browser.text("#events"), &["each partition has a reader", "· info: ready"]);
    let charts = browser.eval("[...document.querySelectorAll('.plot')].map(plot => plot.getAttribute('aria-label'))");
    first(charts[0].as_str().unwrap(), &["Messages a second over the last 4 min 58 s", "processed: now 1", "between"]);
    first(charts[1].as_str().unwrap(), &["Lag", "now", &format!("now {}", grouped(consume.lag))]);
    assert_eq!(browser.eval("document.querySelector('.curve.first').ownerSVGElement !== null && document.querySelectorAll('.plot .curve').length"), 2);

    // The axis goes up to 20,000, from 146 px down to 8.
    let end = browser
        .eval("(path => path.getPointAtLength(path.getTotalLength()).y)(document.querySelector('.curves .first'))");
    let expected = 146.0 - 138.0 * rate as f64 / 20_000.0;
    assert!((end.as_f64().unwrap() - expected).abs() < 1.0, "{end} instead of {expected}");
    assert!(browser.eval("document.querySelector('.plot').textContent").as_str().unwrap().contains("20K"));

    // The pointer selects an earlier value.
    browser.run(
        "const plot = document.querySelector('.plot'), box = plot.getBoundingClientRect();
         plot.dispatchEvent(new PointerEvent('pointermove', { clientX: box.left + box.width / 2 }));",
    );
    let caption = browser.text("figcaption");
    first(&caption, &["2 min", "ago"]);
    let pointed = caption.split_once("processed ").and_then(|(_, text)| text.split_once("/s")).unwrap().0;
    let pointed: u64 = pointed.replace(',', "").parse().unwrap();
    assert!((5_000..20_000).contains(&pointed), "what the curve has there: {caption}");
    browser.run("document.querySelector('.plot').dispatchEvent(new PointerEvent('pointerleave'))");
    first(&browser.text("figcaption"), &["now"]);

    let mut both = verifying(601);
    both.produce.as_mut().unwrap().failed = [("timed out".to_owned(), 7)].into();
    show(&browser, &server, &both);
    first(&browser.text("#threads"), &["producer 3", "of 3,000,000"]);
    let thread = &both.produce.as_ref().unwrap().threads[0];
    let width = format!("{:.1}%", 100.0 * thread.acknowledged as f64 / 3e6);
    assert_eq!(browser.eval("document.querySelector('#threads .bar > div').style.width"), width);
    first(&browser.text("#why"), &["not sent", "timed out", "7"]);
    first(&browser.text("#numbers"), &["Acknowledged a second", "Not delivered\n7\n✕ see the reasons"]);
    first(&browser.text("#latency"), &["scheduled → acked"]);

    let mut alone = both;
    alone.consume = None;
    alone.at.push('1');
    alone.command = "produce".to_owned();
    show(&browser, &server, &alone);
    assert_eq!(browser.eval("document.querySelectorAll('.worker').length"), 0);
    assert!(!browser.text("main").contains("Lag"));
    assert_quiet(&browser);
}

#[test]
#[ignore = "needs chromium"]
fn what_is_looked_at_stays_where_it_is_when_the_next_status_comes() {
    let (browser, server) = shown(&consuming(100, 3, 90));
    browser.size(640, 500);
    browser.run(
        "const [zero, one] = document.querySelectorAll('.worker');
         zero.querySelector('details').open = false;
         one.marked = one.querySelectorAll('tbody tr')[7].marked = document.querySelector('.curve').marked = true;
         document.querySelector('#events').lastChild.marked = true;
         one.querySelector('.scroll').scrollLeft = 40;
         one.querySelector('summary').focus({ preventScroll: true });
         one.querySelectorAll('tbody tr')[7].scrollIntoView({ block: 'center' });
         getSelection().selectAllChildren(one.querySelectorAll('tbody tr')[7].cells[0]);",
    );
    let look = "(() => { const one = document.querySelectorAll('.worker')[1], row = one.querySelectorAll('tbody tr')[7]; return {
        top: row.getBoundingClientRect().top, scrolled: scrollY, left: one.querySelector('.scroll').scrollLeft,
        focused: document.activeElement === one.querySelector('summary'), selected: getSelection().toString(),
        open: [...document.querySelectorAll('details')].map(at => at.open).join(),
        marks: [one.marked, row.marked, document.querySelector('.curve').marked, document.querySelector('#events').lastChild.marked] }; })()";
    let before = browser.eval(look);
    let processed = browser.text("#numbers");
    assert_eq!(before["focused"], true);
    assert_eq!(before["left"], 40);
    assert_eq!(before["marks"], json!([true, true, true, true]));
    assert!(before["scrolled"].as_f64().unwrap() > 500.0, "{before}");

    for second in 101..104 {
        let mut next = consuming(second, 3, 90);
        next.events.push(event(second, second, EventLevel::Info, "notice", None, "another one"));
        show(&browser, &server, &next);
    }
    let after = browser.eval(look);
    assert_eq!(after, before);
    assert_ne!(browser.text("#numbers"), processed);
    assert_eq!(browser.eval("document.querySelector('#events').firstChild.innerText.includes('another one')"), true);

    // A closed section is up to date when it is opened, also with the keyboard. No status arrives meanwhile that would update it.
    browser.run("connect = () => {}; source.close(); document.querySelector('summary').focus()");
    browser.type_into("summary", "\u{e007}");
    let newest = consuming(103, 3, 90).consume.unwrap().partitions[0].position;
    browser.wait_until(&format!(
        "document.querySelector('details').open && document.querySelector('.worker tbody tr')?.innerText.includes(({newest}).toLocaleString('en-US'))"
    ));
    assert_quiet(&browser);
}

#[test]
#[ignore = "needs chromium"]
fn a_worker_that_was_just_killed_is_shown_with_its_reason() {
    let (browser, server) = shown(&consuming(598, 4, 16));
    assert!(!browser.text("body").contains('✕'));
    show(&browser, &server, &troubled(600));
    let worker = browser.text(".worker:nth-child(2)");
    for reported in [
        "worker 1",
        "✕ backoff",
        "restarts after the backoff; 2 restarts; last exit: killed by SIGKILL, perhaps for want of memory",
    ] {
        assert!(worker.contains(reported), "{reported:?} in {worker}");
    }
    assert!(browser.text(".worker:nth-child(4)").contains("■ failed"));
    assert!(browser.text("#events li").contains("▲ warning: exit, worker 1\nprocess 4301 was killed by SIGKILL"));
    assert!(browser.text("#not-ready").contains("✕ orders/1 waits for worker 1, which is not running"));
    assert!(browser.text("#state").contains("not ready"));
    assert!(browser.text("#why").contains("signal"));
    assert!(browser.text("main").contains("■ stopped: 10 messages in a row have failed"));
    assert!(browser.text("main").contains("↻ retrying"));
    // The page marks worker 3's partitions as moved; a screen reader announces the worker's exit.
    assert!(browser.text(".worker:nth-child(1)").contains("→ came from worker 3"));
    assert!(
        browser
            .eval("document.querySelector('#news').textContent")
            .as_str()
            .unwrap()
            .contains("process 4301 was killed")
    );

    // The next process continues at the position.
    let mut next = consuming(605, 4, 16);
    next.consume.as_mut().unwrap().workers[1].last_exit = Some("killed by SIGKILL".to_owned());
    next.consume.as_mut().unwrap().workers[1].restarts = 3;
    show(&browser, &server, &next);
    let worker = browser.text(".worker:nth-child(2)");
    assert!(worker.contains("● running") && worker.contains("3 restarts; last exit: killed by SIGKILL"), "{worker}");
    assert_quiet(&browser);
}

#[test]
#[ignore = "needs chromium"]
fn it_shows_when_the_program_is_gone_and_comes_back_with_it() {
    let (browser, server) = shown(&consuming(100, 2, 4));
    let address = server.address;
    drop(server);
    browser.wait_until("/not connected, trying again …\\s+what is shown is [1-9]\\d* s old/.test(document.getElementById('link').innerText)");
    browser.wait_until("document.title.startsWith('✕ not connected')");
    assert!(browser.text("main").contains("● reading"), "what was known is still shown");
    browser.run("window.same = true");

    let server = Server::at(address);
    show(&browser, &server, &consuming(130, 2, 4));
    browser.wait_until("document.getElementById('link').innerText.trim() === '● live'");
    assert_eq!(browser.eval("window.same"), true, "it was not loaded anew");
    assert!(browser.eval("document.title").as_str().unwrap().contains("running"));

    // A proxy's response in place of the program's closes an EventSource permanently; the page creates another one.
    browser.run("source.close()");
    show(&browser, &server, &consuming(140, 2, 4));
    let refused = browser.console();
    assert!(
        refused.iter().all(|line| line.contains("ERR_CONNECTION_REFUSED")
            || line.contains("ERR_INCOMPLETE_CHUNKED")
            || line.contains("ERR_EMPTY_RESPONSE")
            || line.contains("ERR_CONNECTION_RESET")),
        "{refused:?}"
    );
}

#[test]
#[ignore = "needs chromium"]
fn a_page_that_gets_no_event_stream_reports_it_and_waits_for_one() {
    let (browser, server) = (Browser::start(), Server::start());
    server.set_full(true);
    server.show(&consuming(100, 2, 4));
    browser.open(&server.url());
    browser.wait_until("document.getElementById('link').innerText.includes('all places for live pages are taken')");
    assert!(browser.text("main").contains("● reading"), "what is known is shown");
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(server.asked(), 1, "it waits for as long as it was requested to");
    server.set_full(false);
    browser.wait_until("document.getElementById('link').innerText.trim() === '● live'");
    assert_eq!(server.asked(), 2);
}

#[test]
#[ignore = "needs chromium"]
fn the_next_run_at_the_same_address_has_events_of_its_own() {
    let (browser, server) = shown(&consuming(100, 2, 4));
    let mut next = consuming(200, 2, 4);
    next.started_at = next.at.clone();
    next.pid += 1;
    next.events = vec![event(0, 200, EventLevel::Info, "phase", None, "this is another run")];
    show(&browser, &server, &next);
    assert!(browser.text("#events").contains("this is another run"), "{}", browser.text("#events"));
    assert!(!browser.text("#events").contains("the run has begun"));
    // Its first error is announced, though its id is not higher than those of the previous run.
    next.at = consuming(201, 2, 4).at;
    next.events.push(event(1, 201, EventLevel::Error, "exit", Some(0), "process 7 was killed"));
    show(&browser, &server, &next);
    assert_eq!(browser.eval("document.getElementById('news').textContent"), "error: process 7 was killed");
    assert_quiet(&browser);
}

#[test]
#[ignore = "needs chromium"]
fn a_clock_that_is_set_back_leaves_the_page_its_rates() {
    let (browser, server) = shown(&consuming(600, 2, 4));
    // One hour back; the run continues.
    let back = |second: u64| {
        let mut status = consuming(second, 2, 4);
        let set = humantime::parse_rfc3339(&status.at).unwrap() - Duration::from_secs(3_600);
        status.at = humantime::format_rfc3339_millis(set).to_string();
        let from = status.history.len() - usize::try_from(second - 600).unwrap();
        status.history[from..].iter_mut().for_each(|sample| sample.at -= 3_600.0);
        status
    };
    (601..=610).for_each(|second| show(&browser, &server, &back(second)));
    let numbers = browser.text("#numbers");
    assert!(!numbers.contains("Processed a second\n–"), "{numbers}");
    let worker = browser.text(".worker:nth-child(1) summary");
    assert!(!worker.contains('–'), "{worker}");
    let curve = browser.eval("document.querySelector('.curves .first').getAttribute('d')");
    assert_eq!(curve.as_str().unwrap().matches('L').count(), 8, "no sample from before: {curve}");
    assert_quiet(&browser);
}

#[test]
#[ignore = "needs chromium"]
fn ten_thousand_partitions_are_shown_within_a_second() {
    let many = |second| {
        let mut status = consuming(second, 8, 10_000);
        let consume = status.consume.as_mut().unwrap();
        consume.partitions[7_777].stopped = Some("it was requested to".to_owned());
        consume.partitions[4_321].lag = 1_234_567;
        status
    };
    let (browser, server) = shown(&many(100));
    show(&browser, &server, &many(101));
    let reported = browser.text("#tree");
    for word in [
        "the 200 in trouble or with most lag, of 10,000 partitions",
        "/7777",
        "■ stopped: it was requested to",
        "/4321",
        "1,234,567",
    ] {
        assert!(reported.contains(word), "{word:?}");
    }
    assert_eq!(browser.eval("document.querySelectorAll('.worker tbody tr').length"), 200);
    // From the arrival of the event to the finished layout; the minimum of several, because this machine has other load, too.
    let took = "Math.min(...Array.from({ length: 5 }, (_, index) => {
        status.at = new Date(Date.parse(status.at) + 1000).toISOString();
        for (const partition of status.consume.partitions) { partition.position += 3; partition.lag = (partition.lag * 31 + index) % 1009; }
        const data = JSON.stringify(status), begun = performance.now();
        source.dispatchEvent(new MessageEvent('status', { data }));
        document.body.getBoundingClientRect();
        return performance.now() - begun; }))";
    let took = browser.eval(took).as_f64().unwrap();
    println!("10,000 partitions: {took:.0} ms");
    assert!(took < 1_000.0, "{took} ms");

    browser.type_into("#wanted", "/123 ");
    browser.wait_until("document.getElementById('found').textContent === '1 that match, of 10,000 partitions'");
    assert!(browser.text("#workers").contains("orders/123"));
    browser.type_into("#wanted", "\u{8}\u{8}\u{e003}\u{e003}\u{e003}\u{e003}stopped");
    browser.wait_until("document.getElementById('found').textContent === '1 that match, of 10,000 partitions'");
    assert_eq!(browser.eval("document.activeElement.id"), "wanted");
    show(&browser, &server, &many(200));
    assert_eq!(browser.eval("[document.activeElement.id, document.activeElement.value]"), json!(["wanted", "stopped"]));
    assert_eq!(browser.eval("document.querySelectorAll('.worker tbody tr').length"), 1);
    assert_quiet(&browser);
}
