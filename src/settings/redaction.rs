//! Masking of secrets in errors, `Debug` output and `config show`. A value is masked by the position at which it was set, not
//! only by exact names: the value of a misspelt password setting must not be printed either.

use toml::Value;

use super::de;
use super::keys::{self, KeyKind};

/// The text that replaces a secret.
pub(crate) const MASK: &str = "***";

/// The properties with the prefixes `sasl.` and `ssl.` whose values may be printed. Any other property with these prefixes is
/// secret, even if it does not exist.
const PRINTABLE: &[&str] = &[
    "enable.sasl.oauthbearer.unsecure.jwt",
    "enable.ssl.certificate.verification",
    "https.ca.location",
    "sasl.kerberos.keytab",
    "sasl.kerberos.min.time.before.relogin",
    "sasl.kerberos.principal",
    "sasl.kerberos.service.name",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.oauthbearer.assertion.algorithm",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.grant.type",
    "sasl.oauthbearer.metadata.authentication.type",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.username",
    "ssl.ca.certificate.stores",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.endpoint.identification.algorithm",
    "ssl.engine.id",
    "ssl.engine.location",
    "ssl.key.location",
    "ssl.keystore.location",
    "ssl.providers",
    "ssl.sigalgs.list",
];

/// Words that mark the name of a property, a flag or a variable as the name of a secret.
const SECRET_WORDS: &[&str] = &[
    "pass",
    "pasw",
    "pwd",
    "secret",
    "token",
    "key",
    "credential",
    "jaas",
    "jwt",
    "bearer",
    "auth",
    "private",
    "cookie",
    "session_id",
    "http.headers",
    "signature",
];

/// Whether the name of a flag, a header or a variable contains a secret word.
fn is_secret_word(name: &str) -> bool {
    let name = name.to_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// Whether the value of this raw property must not be printed.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.trim().to_lowercase();
    if PRINTABLE.contains(&name.as_str()) {
        return false;
    }
    // A typing error in the first word must not reveal the value.
    let is_security = |word: &str| {
        let near = |known: &str| strsim::damerau_levenshtein(word, known) <= 1;
        word.contains("sasl") || word.contains("ssl") || near("sasl") || near("ssl")
    };
    is_secret_word(&name) || name.split(['.', '_', '-']).any(is_security)
}

/// Returns a setting's value with its secrets masked.
pub(super) fn mask_value(key: &str, value: &Value) -> Value {
    let is_empty = value.as_str() == Some("");
    match (key, keys::kind(key)) {
        _ if is_empty => value.clone(),
        ("kafka.security.password" | "kafka.security.key_password", _) => MASK.into(),
        (_, KeyKind::Property(name)) if is_secret(name) => MASK.into(),
        (_, KeyKind::Property("bootstrap.servers" | "metadata.broker.list")) | ("kafka.brokers", _) => {
            each_item(value, mask_brokers)
        }
        ("producer.headers", _) => {
            each_item(value, |headers| headers.iter().map(|header| mask_header(header)).collect())
        }
        ("consumer.command", _) => mask_command_value(value),
        _ => mask_texts(value),
    }
}

/// Applies `mask` to a list, which may be comma-separated text.
fn each_item(value: &Value, mask: impl Fn(&[String]) -> Vec<String>) -> Value {
    match value {
        Value::String(text) => {
            let items: Vec<String> = text.split(',').map(str::to_owned).collect();
            mask(&items).join(",").into()
        }
        Value::Array(items) => {
            let text = |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
            mask(&items.iter().map(text).collect::<Vec<_>>()).into()
        }
        // A value of another type is invalid.
        _ => MASK.into(),
    }
}

/// Masks the value of a header: `name=***`.
fn mask_header(header: &str) -> String {
    match header.split_once('=') {
        Some((name, "")) => format!("{name}="),
        Some((name, _)) => format!("{name}={MASK}"),
        None => MASK.to_owned(),
    }
}

/// Masks users and passwords in brokers. A password may contain a comma, at which the list was split: if any broker contains an
/// `@`, only what is surely `host` or `host:port` is printed.
pub(super) fn mask_brokers(brokers: &[String]) -> Vec<String> {
    if !brokers.iter().any(|broker| broker.contains('@')) {
        return brokers.to_vec();
    }
    let is_address = |broker: &str| {
        let (host, port) = broker.trim().rsplit_once(':').unwrap_or(("", ""));
        !host.is_empty() && !host.contains([':', '/']) && port.parse::<u16>().is_ok()
    };
    let mask = |broker: &String| match broker.rsplit_once('@') {
        Some((_, address)) if is_address(address) => format!("{MASK}@{}", address.trim()),
        _ => MASK.to_owned(),
    };
    brokers.iter().map(mask).collect()
}

/// Masks the user info of URLs in any text: `scheme://***@host`.
pub(crate) fn mask_userinfo(text: &str) -> String {
    let is_end = |c: char| c.is_whitespace() || "/?#\"'`<>".contains(c);
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        masked.push_str(before);
        masked.push_str("://");
        let authority = &after[..after.find(is_end).unwrap_or(after.len())];
        rest = match authority.rfind('@') {
            Some(at) => {
                masked.push_str(MASK);
                &after[at..]
            }
            None => after,
        };
    }
    masked + rest
}

/// As [`mask_userinfo`], and also masks `user:password@host` without a scheme. The text must not contain other words with an `@`
/// after a colon.
pub(crate) fn mask_logins(text: &str) -> String {
    let mask = |word: &str| {
        let quote = if word.starts_with('\'') { "'" } else { "" };
        match word.rsplit_once('@') {
            Some((_, host)) if has_login(word) => format!("{quote}{MASK}@{host}"),
            _ => word.to_owned(),
        }
    };
    mask_userinfo(text).split_inclusive(char::is_whitespace).map(mask).collect()
}

/// Applies [`mask_userinfo`] to every text of a value.
fn mask_texts(value: &Value) -> Value {
    match value {
        Value::String(text) if text.contains("-----BEGIN") => MASK.into(),
        Value::String(text) => mask_userinfo(text).into(),
        Value::Array(items) => Value::Array(items.iter().map(mask_texts).collect()),
        other => other.clone(),
    }
}

/// Returns a command line with its secrets masked; a text is returned unchanged if it contains no secret.
fn mask_command_value(value: &Value) -> Value {
    let words: Vec<String> = match value {
        Value::String(text) => match de::command_words(text) {
            Ok(words) => words,
            Err(_) if mask_command(std::slice::from_ref(text))[0] == *text => return value.clone(),
            Err(_) => return MASK.into(),
        },
        Value::Array(items) => {
            items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect()
        }
        _ => return MASK.into(),
    };
    let masked = mask_command(&words);
    if masked == words { value.clone() } else { masked.into() }
}

/// Masks the words of a command line: the values of options and variables with secret names, the values of environment variables,
/// and words that look like a secret.
pub(crate) fn mask_command(words: &[String]) -> Vec<String> {
    let before = std::iter::once(None).chain(words.iter().map(Some));
    before.zip(words).map(|(before, word)| mask_word(before.map_or("", String::as_str), word)).collect()
}

/// Masks a word of a command line; `before` is the preceding word.
fn mask_word(before: &str, word: &str) -> String {
    let is_value = match before {
        "-H" | "--header" => true,
        "-u" | "--user" => word.contains(':'),
        _ => before.starts_with('-') && !before.contains('=') && is_secret_word(before),
    };
    let is_short_option = word.starts_with('-') && !word.starts_with("--");
    match word.split_once('=') {
        _ if is_value => MASK.to_owned(),
        // mysql accepts `-pPASSWORD`.
        _ if is_short_option && looks_random(word.trim_start_matches('-')) => MASK.to_owned(),
        Some((name, _)) if !name.contains(char::is_whitespace) && (is_variable(name) || is_secret_word(name)) => {
            format!("{name}={MASK}")
        }
        Some((name, value)) if word.starts_with('-') => format!("{name}={}", mask_text(value)),
        None if word.starts_with('-') => word.to_owned(),
        _ => mask_text(word),
    }
}

/// Whether this is the name of a variable in the notation of environment variables.
fn is_variable(name: &str) -> bool {
    let is_upper = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    name.bytes().all(is_upper) && name.bytes().any(|b| b.is_ascii_uppercase())
}

/// Masks arbitrary text, such as the script of `sh -c`. The whole text is masked if it contains a secret name with a value, an
/// assignment to a variable, or a word that looks like a secret.
fn mask_text(text: &str) -> String {
    let words =
        || text.split(|c: char| c.is_whitespace() || "\"'`;|&()<>,".contains(c)).filter(|word| !word.is_empty());
    let is_named = |word: &str| {
        let assigned = word.split_once(['=', ':']).is_some_and(|(name, _)| is_variable(name) || is_secret_word(name));
        assigned || (word.starts_with('-') && is_secret_word(word))
    };
    let hides =
        text.contains("-----BEGIN") || words().any(|word| is_named(word) || looks_random(word) || has_login(word));
    if hides { MASK.to_owned() } else { mask_userinfo(text) }
}

/// Whether a word is `user:password@host` without a scheme.
fn has_login(word: &str) -> bool {
    !word.contains("://") && word.split_once('@').is_some_and(|(login, _)| login.contains(':'))
}

/// The minimum length of a random word that counts as a key, in characters.
const SHORTEST_KEY: usize = 20;

/// Whether a word looks like a key or a token: long, with letters and digits, and not a path or a file name.
fn looks_random(word: &str) -> bool {
    let is_of_key = |b: u8| b.is_ascii_alphanumeric() || b"_-+=".contains(&b);
    let has = |is: fn(&u8) -> bool| word.as_bytes().iter().any(is);
    let is_mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
    let is_key = word.len() >= SHORTEST_KEY && word.bytes().all(is_of_key) && is_mixed && !word.starts_with("--");
    is_key || (word.starts_with("eyJ") && word.len() >= SHORTEST_KEY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_secret_by_their_place_and_not_only_by_their_names() {
        let secret = [
            "sasl.password",
            "sasl.passwd",
            "sasl.pasword",
            "sasl.anything",
            "sals.pasword",
            "sasl_pw",
            "SASL.Passwort",
            "ssl.x",
            "ssl.key.pem",
            "ssl.keystore.password",
            "ssll.kee",
            "sasl.jaas.config",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.config",
            "sasl.oauthbearer.extensions",
            "enable.ssl.x",
            "http.headers",
            "my.token",
            "api.key",
        ];
        for name in secret {
            assert!(is_secret(name), "{name}");
        }
        let printable = [
            "batch.size",
            "debug",
            "client.id",
            "acks",
            "socket.keepalive.enable",
            "statistics.interval.ms",
            "isolation.level",
            "ssl.endpoint.identification.algorithm",
            "enable.ssl.certificate.verification",
            "sasl.mechanisms",
            "partitioner",
        ];
        for name in printable {
            assert!(!is_secret(name), "{name}");
        }
    }

    fn brokers(text: &str) -> String {
        mask_value("kafka.brokers", &Value::from(text)).as_str().unwrap().to_owned()
    }

    #[test]
    fn brokers_are_printed_without_logins() {
        assert_eq!(brokers("a:1, [::1]:2,b"), "a:1, [::1]:2,b");
        assert_eq!(brokers("me:geheim@a:1"), "***@a:1");
        assert_eq!(brokers("me:ge@he,im@a:1,b:2"), "***,***@a:1,***");
        assert_eq!(brokers("me:geheim,@"), "***,***");
        assert_eq!(brokers("SASL_SSL://me:geheim@a:1"), "***@a:1");
        let list = Value::from(vec!["me:geheim@a:1", "b:2"]);
        assert_eq!(mask_value("kafka.brokers", &list), Value::from(vec!["***@a:1", "***"]));
    }

    #[test]
    fn headers_are_printed_by_name() {
        let headers = Value::from("Authorization=Bearer geheim,empty=,geheim");
        assert_eq!(mask_value("producer.headers", &headers), Value::from("Authorization=***,empty=,***"));
        let headers = Value::from(vec!["x=geheim"]);
        assert_eq!(mask_value("producer.headers", &headers), Value::from(vec!["x=***"]));
    }

    #[test]
    fn urls_are_printed_without_logins() {
        assert_eq!(
            mask_userinfo("see http://me:ge@heim@host:1/a@b and https://x/"),
            "see http://***@host:1/a@b and https://x/"
        );
        assert_eq!(mask_userinfo("://"), "://");
        assert_eq!(
            mask_logins("invalid value 'me:geheim@host:1' for a\n x@y"),
            "invalid value '***@host:1' for a\n x@y"
        );
        let url = "sasl.oauthbearer.token.endpoint.url";
        let value = mask_value(&format!("kafka.properties.{url}"), &Value::from("https://me:geheim@host/"));
        assert_eq!(value, Value::from("https://***@host/"));
    }

    #[test]
    fn commands_are_printed_without_what_looks_secret() {
        let command = |text: &str| mask_value("consumer.command", &Value::from(text)).to_string().replace('"', "");
        let plain = "python3 -u work.py --workers 4 --mode=fast -v /srv/data/2026-11/x1.json";
        assert_eq!(command(plain), plain, "nothing is masked, and the text is as it was written");
        assert_eq!(command("work --token geheim x"), "[work, --token, ***, x]");
        assert_eq!(command("work --api-key=geheim"), "[work, --api-key=***]");
        assert_eq!(command("work --db_passwd geheim"), "[work, --db_passwd, ***]");
        assert_eq!(command("env HOST=geheim token=geheim work"), "[env, HOST=***, token=***, work]");
        assert_eq!(command("curl -u me:geheim http://me:geheim@x/"), "[curl, -u, ***, http://***@x/]");
        assert_eq!(command("work --url=http://me:geheim@x/ --label=a"), "[work, --url=http://***@x/, --label=a]");
        assert_eq!(command("curl -H 'X-Api: geheim'"), "[curl, -H, ***]");
        assert_eq!(command("work 'Authorization: Bearer geheim'"), "[work, ***]");
        assert_eq!(command("sh -c 'TOKEN=geheim work'"), "[sh, -c, TOKEN=***]");
        assert_eq!(command("sh -c 'work --password geheim'"), "[sh, -c, ***]");
        assert_eq!(command("sh -c 'cat -n'"), "sh -c 'cat -n'");
        assert_eq!(command("work ghp_0123456789abcdefghij"), "[work, ***]");
        assert_eq!(command("work me:geheim@host"), "[work, ***]");
        assert_eq!(command("work --token 'geheim"), "***", "a quote is not closed");
    }

    #[test]
    fn an_empty_value_is_printed_as_it_is() {
        for key in ["kafka.security.password", "kafka.brokers", "kafka.properties.sasl.x", "consumer.command"] {
            assert_eq!(mask_value(key, &Value::from("")), Value::from(""), "{key}");
        }
        assert_eq!(mask_value("kafka.security.password", &Value::from(12)), Value::from(MASK));
        assert_eq!(
            mask_value("producer.template_file", &Value::from("-----BEGIN PRIVATE KEY-----")),
            Value::from(MASK)
        );
    }
}
