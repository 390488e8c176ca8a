//! Topics, groups, reasons and events contain untrusted input: the page shows it as text.

use kafka_actors::internal::status::{EventLevel, Status};
use serde_json::json;

use super::documents::{event, troubled, verifying};
use super::{BEYOND, SIDEWAYS, assert_quiet, show, shown};

/// Everything that might break a page: markup, quotes, bidirectional text and its control characters, invisible characters, stacked
/// accents.
const HOSTILE: &str = "<img src=x onerror=\"window.hacked=1\">'\"`</script><script>window.hacked=2</script></textarea>אבג\u{202e}dlrow\
                       \u{2067}\u{200f}&amp;${hacked}\0z\u{337}\u{321}\u{335}\u{321}";
/// The visible part of it.
const SEEN: &str = "<img src=x onerror=\"window.hacked=1\">'\"`</script><script>window.hacked=2</script></textarea>אבג\\u{202e}dlrow\
                    \\u{2067}\\u{200f}&amp;${hacked}\\u{0}z\u{337}\u{321}\u{335}\u{321}";

/// A status in which every text is hostile.
pub fn hostile() -> Status {
    let long = HOSTILE.repeat(8);
    let mut status = troubled(600);
    (status.host, status.command, status.program) = (long.clone(), HOSTILE.to_owned(), HOSTILE.to_owned());
    status.not_ready_reasons = vec![long.clone(), long.clone()];
    status.events.push(event(9, 599, EventLevel::Error, HOSTILE, Some(1), &long));
    let consume = status.consume.as_mut().unwrap();
    (consume.group, consume.assignment, consume.topics) = (long.clone(), HOSTILE.to_owned(), vec![long.clone(); 9]);
    consume.restarts = [(long.clone(), 3), ("__proto__".to_owned(), 4), ("constructor".to_owned(), 5)].into();
    consume.workers[1].last_exit = Some(long.clone());
    for partition in &mut consume.partitions {
        partition.topic.clone_from(&long);
        partition.stopped = (partition.partition == 2).then(|| long.clone());
    }
    let mut both = verifying(600).produce.unwrap();
    both.topic.clone_from(&long);
    both.failed = [(long, 9)].into();
    status.produce = Some(both);
    status
}

#[test]
#[ignore = "needs chromium"]
fn hostile_texts_are_texts() {
    let status = hostile();
    let (browser, server) = shown(&status);
    let long = SEEN.repeat(8);
    let reported = |selector: &str| {
        let whole = browser.eval(&format!(
            "[...document.querySelectorAll({})].some(at => at.textContent.includes({}))",
            json!(selector),
            json!(long)
        ));
        assert_eq!(whole, true, "{selector}");
    };
    ["#not-ready li", "#events li", "#why td", ".exit", ".worker tbody td"].into_iter().for_each(reported);
    // The page shortens a partition's name; the title is the complete name.
    let title = browser.eval("document.querySelector('.worker tbody th').title");
    assert_eq!(title.as_str().unwrap(), format!("{long}/0"));
    assert!(browser.text(".worker tbody th").ends_with("/0"));
    // The header shows the starts of the texts.
    assert_eq!(browser.text("#about").matches("<img src=x onerror=").count(), 9);
    assert!(browser.eval("document.title").as_str().unwrap().contains("<img"));
    assert!(browser.text("#why").contains("__proto__") && browser.text("#why").contains("constructor"));
    // Shows it again, also after the window changes its size: the page updates existing nodes with other code.
    let mut next = status;
    next.at.push('1');
    show(&browser, &server, &next);
    for width in [1280, 800, 360] {
        browser.size(width, 900);
        browser.wait_until(&format!("innerWidth === {width}"));
        assert_eq!(browser.eval(SIDEWAYS), json!([]), "at {width}");
        assert_eq!(browser.eval(BEYOND), json!([0, 0]));
    }
    // A text in another direction does not change the direction of the text around it.
    let turned = "[...document.querySelectorAll('*')].filter(at => !at.closest('head, script, .unseen') && [...at.childNodes].some(child => \
                  child.nodeType === 3 && child.data.includes('א')) && !getComputedStyle(at.closest('.message') ?? at).unicodeBidi.includes('isolate')\
                  ).map(at => at.outerHTML.slice(0, 80))";
    assert_eq!(browser.eval(turned), json!([]));
    assert_eq!(browser.eval(r"/[\u0000\u200f\u202e\u2067]/.test(document.title + document.body.textContent)"), false);
    assert_eq!(browser.eval("[window.hacked ?? 0, document.images.length, document.scripts.length]"), json!([0, 0, 1]));
    assert_quiet(&browser);
}
