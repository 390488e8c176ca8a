//! The URL of a run's status.

use std::fmt;
use std::str::FromStr;

use ureq::http::Uri;

/// The default port of the HTTP server.
const PORT: u16 = 9464;
/// The accepted forms, for error texts.
const EXPECTED: &str = "expected a URL such as http://127.0.0.1:9464, HOST:PORT or a port";

/// The base URL of a run: plain HTTP, without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusUrl(String);

impl StatusUrl {
    /// Returns the URL of the endpoint `/status`.
    pub(super) fn status(&self) -> String {
        format!("{}/status", self.0)
    }
}

impl fmt::Display for StatusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for StatusUrl {
    type Err = String;

    /// Parses a URL, `HOST:PORT`, `HOST`, `:PORT` or `PORT`. A path is kept: the run may be behind a proxy.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (is_url, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (true, rest),
            Some((scheme, _)) => return Err(format!("{scheme} is not spoken here, only http; {EXPECTED}")),
            None => (false, text),
        };
        let rest = match rest.strip_prefix(':').unwrap_or(rest) {
            port if !is_url && is_number(port) => format!("127.0.0.1:{port}"),
            _ => rest.to_owned(),
        };
        let uri: Uri = format!("http://{rest}").parse().map_err(|error| format!("{error}; {EXPECTED}"))?;
        let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let host = uri.host().unwrap_or_default();
        if host.is_empty() || authority.contains('@') || uri.query().is_some() {
            return Err(EXPECTED.to_owned());
        }
        let port = match authority.strip_prefix(host) {
            Some("") if is_url => String::new(),
            Some("") => format!(":{PORT}"),
            Some(rest) if rest[1..].parse::<u16>().is_ok_and(|port| port > 0) => rest.to_owned(),
            _ => return Err(format!("{authority}: a port is a number from 1 to 65535; {EXPECTED}")),
        };
        let path = uri.path().trim_end_matches('/');
        Ok(Self(format!("http://{host}{port}{}", path.strip_suffix("/status").unwrap_or(path))))
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(text: &str) -> String {
        text.parse::<StatusUrl>().unwrap_or_else(|error| panic!("{text}: {error}")).status()
    }

    #[test]
    fn an_address_is_given_in_many_ways() {
        for text in
            ["9464", ":9464", "127.0.0.1", "127.0.0.1:9464", "http://127.0.0.1:9464", " HTTP://127.0.0.1:9464/ "]
        {
            assert_eq!(status(text), "http://127.0.0.1:9464/status", "{text}");
        }
        assert_eq!(status("run.example.org:80"), "http://run.example.org:80/status");
        assert_eq!(status("[::1]"), "http://[::1]:9464/status");
        assert_eq!(status("[::1]:1"), "http://[::1]:1/status");
    }

    #[test]
    fn a_url_is_taken_as_it_is() {
        assert_eq!(status("http://run"), "http://run/status");
        assert_eq!(status("http://run/kafka/"), "http://run/kafka/status");
        assert_eq!(status("http://run:1/status"), "http://run:1/status");
    }

    #[test]
    fn what_is_no_address_is_rejected_with_what_is_expected() {
        let wrong = [
            "",
            " ",
            "/",
            "http://",
            "99999",
            "0",
            "run:",
            "run:x",
            "run:65536",
            "http://run:99999",
            "::1",
            "a b",
            "\u{1b}[2J",
            "user@run",
            "http://user:pw@run",
            "run?x=1",
            "https://run",
            "unix:///run.sock",
            "http://http://x",
        ];
        for text in wrong {
            let error = text.parse::<StatusUrl>().expect_err(text);
            assert!(error.contains("expected a URL such as"), "{text:?}: {error}");
        }
        assert!("https://run".parse::<StatusUrl>().unwrap_err().starts_with("https is not spoken here"));
    }
}
