//! The certificate and key files of `kafka.security`: checks them and passes them to librdkafka.

use std::path::Path;

use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

use super::error::KafkaError;
use crate::settings::{Security, SecurityProtocol};
use crate::util::text_file::{BYTE_ORDER_MARK, without_mark};

/// The paths where librdkafka looks for the system's certificate authorities; it uses the first that exists.
const SYSTEM_AUTHORITIES: [&str; 8] = [
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/certs",
    "/usr/local/etc/ssl/cert.pem",
];

/// The system's certificate authorities that exist: files, or non-empty folders.
pub(super) fn system_authorities() -> Vec<&'static Path> {
    let has_some = |path: &&Path| match path.metadata() {
        Ok(metadata) if metadata.is_dir() => path.read_dir().is_ok_and(|mut entries| entries.next().is_some()),
        Ok(metadata) => metadata.len() > 0,
        Err(_) => false,
    };
    SYSTEM_AUTHORITIES.iter().map(|path| Path::new(*path)).filter(has_some).collect()
}

/// Reads a file without its byte order mark.
pub(super) fn read(path: &str) -> std::io::Result<Vec<u8>> {
    Ok(without_mark(&std::fs::read(path)?).to_vec())
}

/// The text of a file with a byte order mark, which OpenSSL would read as part of the first line: librdkafka gets the
/// text instead of the path. `None` for other files.
pub(super) fn text_behind_mark(path: &str) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    String::from_utf8(bytes.strip_prefix(BYTE_ORDER_MARK)?.to_vec()).ok()
}

/// Checks the files.
///
/// # Errors
/// [`KafkaError::Tls`] with the setting, the file and the problem.
pub(super) fn check(security: &Security) -> Result<(), KafkaError> {
    if !matches!(security.protocol, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl) {
        return Ok(());
    }
    if !security.ca_file.is_empty() {
        certificates("kafka.security.ca_file", &security.ca_file)?;
    }
    if security.certificate_file.is_empty() || security.key_file.is_empty() {
        return Ok(());
    }
    let chain = certificates("kafka.security.certificate_file", &security.certificate_file)?;
    let key = key(security)?;
    let fits = chain.first().and_then(|own| own.public_key().ok()).is_some_and(|public| public.public_eq(&key));
    if fits {
        return Ok(());
    }
    Err(KafkaError::Tls(format!(
        "kafka.security.key_file = {:?} is not the key of the first certificate in kafka.security.certificate_file = {:?}",
        security.key_file, security.certificate_file
    )))
}

fn certificates(setting: &str, path: &str) -> Result<Vec<X509>, KafkaError> {
    let problem = |what: String| KafkaError::Tls(format!("{setting} = {path:?} {what}"));
    let bytes = read(path).map_err(|error| problem(format!("cannot be read: {error}")))?;
    match X509::stack_from_pem(&bytes) {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(problem("has no certificate in PEM format (-----BEGIN CERTIFICATE-----)".to_owned())),
    }
}

fn key(security: &Security) -> Result<PKey<Private>, KafkaError> {
    let problem = |what: &str| KafkaError::Tls(format!("kafka.security.key_file = {:?} {what}", security.key_file));
    let bytes = read(&security.key_file).map_err(|error| problem(&format!("cannot be read: {error}")))?;
    let text = String::from_utf8_lossy(&bytes);
    let is_encrypted = text.contains("ENCRYPTED");
    if !text.contains("PRIVATE KEY-----") {
        return Err(problem("has no private key in PEM format (-----BEGIN PRIVATE KEY-----)"));
    }
    // Without a password OpenSSL would prompt on the terminal.
    let password = security.key_password.reveal();
    PKey::private_key_from_pem_passphrase(&bytes, password.as_bytes()).map_err(|_| match (is_encrypted, password) {
        (true, "") => problem("is encrypted; kafka.security.key_password has to have its password"),
        (true, _) => problem("cannot be opened with kafka.security.key_password"),
        (false, _) => problem("has a private key that cannot be read"),
    })
}
