//! Readability: on a phone, in dark mode, without colours; and screenshots.

use kafka_actors::internal::status::{EventLevel, PartitionStatus, Phase, Status, WorkerState};
use serde_json::json;

use super::documents::{consuming, event, troubled, verifying};
use super::hostile::hostile;
use super::{BEYOND, SIDEWAYS, assert_quiet, show, shown};
use crate::harness::wait_for;

/// Texts with a contrast below WCAG's 4.5 (AA), and their contrast.
const PALE: &str = "(() => {
    const rgb = text => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
        .reduce((sum, c, index) => sum + c * [.2126, .7152, .0722][index], 0);
    const ground = at => {
        for (; at; at = at.parentElement) { const color = rgb(getComputedStyle(at).backgroundColor); if (color[3] !== 0) return color; }
        return [255, 255, 255];
    };
    const pale = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    let texts = 0;
    while (walker.nextNode()) {
        const at = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || at.closest('script, noscript, .unseen') || !at.getClientRects().length) continue;
        const style = getComputedStyle(at), color = rgb(at instanceof SVGElement ? style.fill : style.color);
        const [a, b] = [light(color), light(ground(at))].sort((a, b) => b - a), contrast = (a + .05) / (b + .05);
        texts += 1;
        if (contrast < 4.5) pale.push(`${walker.currentNode.data.slice(0, 40)}: ${contrast.toFixed(2)}`);
    }
    return texts > 100 ? pale : [`only ${texts} texts`];
})()";

#[test]
#[ignore = "needs chromium"]
fn nothing_scrolls_sideways_on_a_phone() {
    let (browser, server) = shown(&consuming(600, 3, 12));
    for (width, height) in [(360, 740), (320, 600), (740, 360)] {
        browser.size(width, height);
        browser.wait_until(&format!("innerWidth === {width}"));
        for (number, mut status) in
            [consuming(600, 3, 12), troubled(600), verifying(600), consuming(600, 2, 500)].into_iter().enumerate()
        {
            status.at = status.at.replace(".000Z", &format!(".{width}{number}Z"));
            show(&browser, &server, &status);
            browser.run("scrollTo(500, 0)");
            assert_eq!(browser.eval(BEYOND), json!([0, 0]), "{number}");
            assert_eq!(browser.eval(SIDEWAYS), json!([]), "{number} at {width}");
        }
    }
    // Wide tables do scroll, each in a separate box.
    browser.size(360, 740);
    browser.wait_until("innerWidth === 360 && document.querySelector('.worker .scroll').scrollWidth > 360");
    assert_quiet(&browser);
}

#[test]
#[ignore = "needs chromium"]
fn light_and_dark_are_readable() {
    let (browser, server) = shown(&troubled(600));
    let mut both = troubled(601);
    both.produce = verifying(601).produce;
    show(&browser, &server, &both);
    let ground = || browser.eval("getComputedStyle(document.body).backgroundColor");
    browser.prefer("prefers-color-scheme", "light");
    let light = ground();
    assert_eq!(browser.eval(PALE), json!([]), "light");
    browser.prefer("prefers-color-scheme", "dark");
    assert_ne!(ground(), light);
    assert_eq!(browser.eval(PALE), json!([]), "dark");
    // The contrast is sufficient while the page is not connected, too.
    drop(server);
    browser.wait_until("document.body.classList.contains('stale')");
    assert_eq!(browser.eval(PALE), json!([]), "dark, not connected");
    browser.prefer("prefers-color-scheme", "light");
    assert_eq!(browser.eval(PALE), json!([]), "light, not connected");
}

#[test]
#[ignore = "needs chromium"]
fn each_state_is_shown_in_words() {
    let (browser, server) = shown(&consuming(1, 1, 1));
    let mut reported = Vec::new();
    let mut check = |status: &Status, selector: &str| {
        show(&browser, &server, status);
        let text = browser.text(selector);
        assert!(text.chars().filter(|letter| letter.is_alphabetic()).count() > 3, "{text:?}");
        let text = (selector.to_owned(), text);
        assert!(!reported.contains(&text), "{text:?} is shown for two states");
        reported.push(text);
    };
    use WorkerState::{Backoff, Ended, Failed, Running, ScaledDown, Standby, Starting, Stopping};
    let mut status = consuming(10, 1, 1);
    let mut second = 0;
    let mut later = |status: &mut Status| {
        second += 1;
        status.at = format!("2030-01-01T00:00:{second:02}.000Z");
    };
    for state in [Starting, Running, Standby, Stopping, Backoff, Failed, ScaledDown, Ended] {
        later(&mut status);
        status.consume.as_mut().unwrap().workers[0].state = state;
        check(&status, ".worker .name span");
    }
    for phase in [Phase::Starting, Phase::Running, Phase::Paused, Phase::Draining, Phase::Ended] {
        later(&mut status);
        status.phase = phase;
        check(&status, "#state");
    }
    later(&mut status);
    status.not_ready_reasons = vec!["it is not".to_owned()];
    check(&status, "#state");
    for (id, level) in [EventLevel::Info, EventLevel::Warning, EventLevel::Error].into_iter().enumerate() {
        later(&mut status);
        status.events = vec![event(id as u64, 1, level, "notice", None, "the same")];
        check(&status, "#events");
    }
    status.consume.as_mut().unwrap().workers[0].state = Running;
    let base = status.consume.as_ref().unwrap().partitions[0].clone();
    let states = [
        PartitionStatus { lag: 5, ..base.clone() },
        PartitionStatus { lag: 0, ..base.clone() },
        PartitionStatus { stop_offset: Some(1), ..base.clone() },
        PartitionStatus { lag: 5, stalled_seconds: 9.0, ..base.clone() },
        PartitionStatus { retrying: true, ..base.clone() },
        PartitionStatus { stopped: Some("why".to_owned()), ..base.clone() },
    ];
    for partition in states {
        later(&mut status);
        status.consume.as_mut().unwrap().partitions[0] = partition;
        check(&status, ".worker tbody td");
    }
    later(&mut status);
    status.consume.as_mut().unwrap().partitions[0] = PartitionStatus { worker: None, lag: 5, ..base };
    check(&status, ".worker:last-child .name");
    // Colours that the user has chosen replace the page's colours.
    browser.prefer("forced-colors", "active");
    assert_eq!(browser.eval("matchMedia('(forced-colors: active)').matches"), true);
    assert!(browser.text("main").contains("? no worker"));
    assert_quiet(&browser);
}

#[test]
#[ignore = "needs chromium"]
fn on_a_narrow_screen_a_table_shows_that_it_scrolls() {
    let (browser, server) = shown(&troubled(600));
    let hints = "[...document.querySelectorAll('.worker .scroll.more')].length";
    assert_eq!(browser.eval(hints), 0, "there is room for all");
    browser.size(400, 1200);
    browser.wait_until("innerWidth === 400");
    browser.wait_until(&format!("{hints} > 0"));
    let shown = "getComputedStyle(document.querySelector('.worker .scroll.more'), '::before').content";
    assert!(browser.eval(shown).as_str().unwrap().contains("scroll sideways for more columns"));
    drop(server);
}

#[test]
#[ignore = "needs chromium"]
fn failures_are_there_by_reason_and_rates_after_three_seconds() {
    let at = |second| {
        let mut status = troubled(second);
        status.history.drain(..status.history.len() - 3);
        status
    };
    let (browser, server) = shown(&at(600));
    (601..=603).for_each(|second| show(&browser, &server, &at(second)));
    let why = browser.text("#why");
    assert!(why.contains("skipped or dead-lettered") && why.contains("no stock for #") && why.contains("17"), "{why}");
    assert!(!browser.text("#numbers").contains("a second\n–"), "{}", browser.text("#numbers"));
    assert!(!browser.text("#charts").contains("not enough known yet"), "{}", browser.text("#charts"));
    let worker = browser.text(".worker:nth-child(1) summary");
    assert!(worker.contains('%') && !worker.contains('–'), "CPU and rate: {worker}");
    assert_quiet(&browser);
}

/// Writes screenshots for readers to `target/page/*.png`; the README's picture is one of them.
#[test]
#[ignore = "needs chromium"]
fn pictures_of_it_are_taken() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/page");
    std::fs::create_dir_all(&folder).unwrap();
    let (browser, server) = shown(&consuming(598, 4, 16));
    let (mut second, mut pid) = (598, 4_210);
    let mut take = |name: &str, make: fn(u64) -> Status, scheme: &str, width: u32, height: u32| {
        browser.prefer("prefers-color-scheme", scheme);
        browser.size(width, height);
        browser.wait_until(&format!("innerWidth === {width}"));
        // Each is a different run, so that no partition moves from one to the other. Rates are known from the second status on.
        pid += 1;
        for _ in 0..2 {
            second += 1;
            show(&browser, &server, &Status { pid, at: consuming(second, 1, 1).at, ..make(second) });
        }
        browser.run("scrollTo(0, 0)");
        let mut picture = Vec::new();
        wait_for("a picture of that size", || {
            picture = browser.screenshot();
            let side = |at: usize| u32::from_be_bytes(picture[at..at + 4].try_into().unwrap());
            let scale = if width < 600 { 2 } else { 1 };
            (side(16), side(20)) == (width * scale, height * scale)
        });
        std::fs::write(folder.join(format!("{name}.png")), picture).unwrap();
    };
    let well = |second| consuming(second, 4, 16);
    take("hostile", |_| hostile(), "light", 1280, 2200);
    take("many", |second| consuming(second, 8, 10_000), "light", 1280, 1200);
    take("verify", verifying, "light", 1280, 1500);
    take("dark", well, "dark", 1280, 1300);
    take("phone", well, "light", 360, 1600);
    take("trouble", troubled, "light", 1280, 1500);
    take("trouble-dark", troubled, "dark", 1280, 1500);
    take("trouble-phone", troubled, "dark", 360, 2000);
    take("light", well, "light", 1280, 1300);
    drop(server);
    browser.wait_until("/1\\d s old/.test(document.getElementById('age').textContent)");
    std::fs::write(folder.join("gone.png"), browser.screenshot()).unwrap();
}
