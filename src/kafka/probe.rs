//! Separate connections to a broker's address that find out what listens there. Each has a timeout.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use openssl::ssl::{HandshakeError, SslConnector, SslMethod, SslStream, SslVerifyMode};
use openssl::x509::verify::X509CheckFlags;

/// The timeout of a connection, a handshake or a response.
const TIMEOUT: Duration = Duration::from_millis(500);

/// How long a server may take to reject a client certificate.
const EARLY_ALERT_TIMEOUT: Duration = Duration::from_millis(200);

/// What responded to a request in Kafka's protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// A Kafka broker that requires no login.
    Kafka,
    /// A Kafka broker that requires a login (SASL).
    KafkaWithLogin,
    /// A server that expects TLS.
    Tls,
    /// A server of another protocol, such as HTTP.
    Other(&'static str),
    /// A peer that could not be identified.
    Unknown,
    /// TLS failed with this alert or error.
    Alert(String),
}

/// A host and a port; the default is Kafka's port.
pub(super) fn host_and_port(broker: &str) -> (String, u16) {
    let port = |text: &str| text.parse().unwrap_or(9092);
    match broker.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host.to_owned(), rest.strip_prefix(':').map_or(9092, port)),
        None => broker.rsplit_once(':').map_or((broker.to_owned(), 9092), |(host, text)| (host.to_owned(), port(text))),
    }
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The correlation id of the request, which identifies its response.
const CORRELATION_ID: [u8; 4] = *b"kact";

/// ApiVersions, version 0: every broker responds to it, even before a login.
fn api_versions_request() -> Vec<u8> {
    let mut request = Vec::from([0, 18, 0, 0]);
    request.extend(CORRELATION_ID);
    request.extend([0, 12]);
    request.extend(b"kafka-actors");
    let mut framed = (request.len() as u32).to_be_bytes().to_vec();
    framed.append(&mut request);
    framed
}

/// Identifies a peer by the first bytes of its response.
fn peer_of(reply: &[u8]) -> Peer {
    match reply {
        [_, _, _, _, id @ ..] if id.starts_with(&CORRELATION_ID) => Peer::Kafka,
        // A TLS record: an alert or a handshake.
        [0x15 | 0x16, 0x03, ..] => Peer::Tls,
        _ if reply.starts_with(b"HTTP/") || reply.starts_with(b"<") => Peer::Other("HTTP"),
        _ if reply.starts_with(b"SSH-") => Peer::Other("SSH"),
        _ if reply.starts_with(b"220") => Peer::Other("SMTP or FTP"),
        [] => Peer::Unknown,
        _ => Peer::Other("another protocol"),
    }
}

/// Sends two requests: a listener that requires a login responds to the first and closes the connection at the
/// second.
fn identify(stream: &mut (impl Read + Write)) -> Peer {
    match request(stream) {
        Ok(reply) if peer_of(&reply) == Peer::Kafka => match skip(stream, &reply).and_then(|()| request(stream)) {
            Ok(reply) if reply.is_empty() => Peer::KafkaWithLogin,
            Err(error) if is_closed(&error) => Peer::KafkaWithLogin,
            _ => Peer::Kafka,
        },
        Ok(reply) => peer_of(&reply),
        Err(error) => failed(&error),
    }
}

/// The size of a response header, which identifies the peer.
const HEAD: usize = 8;

/// Sends the request and reads the response header, or the bytes that arrive before the connection closes.
fn request(stream: &mut (impl Read + Write)) -> io::Result<Vec<u8>> {
    stream.write_all(&api_versions_request())?;
    stream.flush()?;
    let mut reply = Vec::new();
    match stream.take(HEAD as u64).read_to_end(&mut reply) {
        Err(error) if reply.is_empty() => Err(error),
        _ => Ok(reply),
    }
}

/// Skips the rest of a Kafka response.
fn skip(stream: &mut impl Read, head: &[u8]) -> io::Result<()> {
    let size = head.first_chunk().map_or(0, |size| u32::from_be_bytes(*size));
    let rest = u64::from(size).saturating_sub(CORRELATION_ID.len() as u64).min(MAX_REPLY_BYTES);
    io::copy(&mut stream.take(rest), &mut io::sink()).map(drop)
}

/// The maximum size of a response to this request.
const MAX_REPLY_BYTES: u64 = 65_536;

fn is_closed(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<openssl::ssl::Error>());
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe | ConnectionAborted)
        || tls.and_then(tls_reason).is_some_and(|reason| reason.contains("unexpected eof"))
}

/// A TLS error identifies the problem; a connection error does not.
fn failed(error: &io::Error) -> Peer {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<openssl::ssl::Error>());
    tls.and_then(tls_reason).map_or(Peer::Unknown, Peer::Alert)
}

/// OpenSSL's last reason, such as `tlsv13 alert certificate required`.
fn tls_reason(error: &openssl::ssl::Error) -> Option<String> {
    error.ssl_error()?.errors().last()?.reason().map(str::to_owned)
}

/// Identifies the peer without TLS.
///
/// # Errors
/// Nothing listens there.
pub(super) fn plain(host: &str, port: u16) -> io::Result<Peer> {
    let peer = identify(&mut connect(host, port)?);
    if peer != Peer::Unknown {
        return Ok(peer);
    }
    // An HTTP server waits for a full line.
    let mut stream = connect(host, port)?;
    let mut reply = [0; 16];
    let read = stream.write_all(b"GET / HTTP/1.0\r\n\r\n").and_then(|()| stream.read(&mut reply)).unwrap_or(0);
    Ok(peer_of(&reply[..read]))
}

/// The parameters of a TLS handshake.
#[derive(Clone, Debug, Default)]
pub(super) struct Tls {
    /// Trusted certificates in PEM format; `None`: the system's authorities.
    pub(super) authorities: Option<Vec<u8>>,
    /// The client's certificates and key in PEM format, and the key's password.
    pub(super) client: Option<(Vec<u8>, Vec<u8>, String)>,
    /// Whether the host name is verified.
    pub(super) checks_host: bool,
}

/// A broker's certificate with the result of its verification.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    /// OpenSSL's verification error code (x509_vfy.h); 0: none.
    pub(super) problem: i32,
    /// The text of the code.
    pub(super) problem_text: &'static str,
    pub(super) issuer: String,
    pub(super) names: Vec<String>,
    pub(super) not_before: String,
    pub(super) not_after: String,
}

/// A completed handshake.
pub(super) struct Handshake {
    pub(super) certificate: Option<Certificate>,
    /// The peer behind TLS.
    pub(super) peer: Peer,
}

/// Why the handshake failed.
pub(super) enum NoHandshake {
    /// Nothing listens there, or the client's own certificates are unusable.
    Unreachable,
    /// OpenSSL's reason.
    Failed(String),
}

/// Performs a handshake like the clients, but accepts any broker certificate and records the result of its
/// verification.
pub(super) fn handshake(host: &str, port: u16, tls: &Tls) -> Result<Handshake, NoHandshake> {
    let unusable = |_| NoHandshake::Unreachable;
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(unusable)?;
    builder.set_verify(SslVerifyMode::NONE);
    match &tls.authorities {
        Some(pem) => {
            let mut store = openssl::x509::store::X509StoreBuilder::new().map_err(unusable)?;
            for certificate in openssl::x509::X509::stack_from_pem(pem).map_err(unusable)? {
                store.add_cert(certificate).map_err(unusable)?;
            }
            builder.set_cert_store(store.build());
        }
        None => super::pem::system_authorities().iter().for_each(|path| {
            let is_folder = path.is_dir();
            let (file, folder) = if is_folder { (None, Some(*path)) } else { (Some(*path), None) };
            // An unreadable file counts as missing.
            builder.load_verify_locations(file, folder).ok();
        }),
    }
    if let Some((certificates, key, password)) = &tls.client {
        let mut chain = openssl::x509::X509::stack_from_pem(certificates).map_err(unusable)?.into_iter();
        let key = openssl::pkey::PKey::private_key_from_pem_passphrase(key, password.as_bytes()).map_err(unusable)?;
        builder.set_certificate(&*chain.next().ok_or(NoHandshake::Unreachable)?).map_err(unusable)?;
        chain.try_for_each(|more| builder.add_extra_chain_cert(more)).map_err(unusable)?;
        builder.set_private_key(&key).map_err(unusable)?;
    }
    let mut configuration = builder.build().configure().map_err(unusable)?;
    configuration.set_verify_hostname(false);
    if tls.checks_host {
        let parameters = configuration.param_mut();
        parameters.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
        match host.parse() {
            Ok(address) => parameters.set_ip(address),
            Err(_) => parameters.set_host(host),
        }
        .map_err(unusable)?;
    }
    let stream = connect(host, port).map_err(|_| NoHandshake::Unreachable)?;
    match configuration.connect(host, stream) {
        Ok(mut stream) => {
            let alert = early_alert(&mut stream);
            let result = stream.ssl().verify_result();
            let (problem, problem_text) = (result.as_raw(), result.error_string());
            let certificate = stream.ssl().peer_certificate().map(|certificate| Certificate {
                problem,
                problem_text,
                issuer: name_of(certificate.issuer_name()),
                names: names_of(&certificate),
                not_before: certificate.not_before().to_string(),
                not_after: certificate.not_after().to_string(),
            });
            Ok(Handshake { certificate, peer: alert.unwrap_or_else(|| identify(&mut stream)) })
        }
        Err(HandshakeError::Failure(stream)) => {
            Err(tls_reason(stream.error()).map_or(NoHandshake::Unreachable, NoHandshake::Failed))
        }
        Err(_) => Err(NoHandshake::Unreachable),
    }
}

/// In TLS 1.3 the client's handshake completes before the server verifies the client certificate. Its alert arrives
/// now, and would be lost if we wrote to a closed connection.
fn early_alert(stream: &mut SslStream<TcpStream>) -> Option<Peer> {
    stream.get_ref().set_read_timeout(Some(EARLY_ALERT_TIMEOUT)).ok()?;
    let read = stream.read(&mut [0; 1]);
    stream.get_ref().set_read_timeout(Some(TIMEOUT)).ok()?;
    read.err().map(|error| failed(&error)).filter(|peer| matches!(peer, Peer::Alert(_)))
}

fn name_of(name: &openssl::x509::X509NameRef) -> String {
    let text = |entry: &openssl::x509::X509NameEntryRef| {
        let key = entry.object().nid().short_name().unwrap_or("?");
        let value = entry.data().to_string().unwrap_or_else(|_| "?".to_owned());
        format!("{key}={value}")
    };
    name.entries().map(text).collect::<Vec<_>>().join(", ")
}

/// The host names and addresses of a certificate.
fn names_of(certificate: &openssl::x509::X509Ref) -> Vec<String> {
    let alternatives = certificate.subject_alt_names().into_iter().flatten().filter_map(|name| {
        let address = |bytes: &[u8]| match <[u8; 4]>::try_from(bytes) {
            Ok(v4) => Some(std::net::IpAddr::from(v4).to_string()),
            Err(_) => Some(std::net::IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string()),
        };
        name.dnsname().map(str::to_owned).or_else(|| name.ipaddress().and_then(address))
    });
    let names: Vec<_> = alternatives.collect();
    if !names.is_empty() {
        return names;
    }
    let common = certificate.subject_name().entries_by_nid(openssl::nid::Nid::COMMONNAME);
    common.filter_map(|entry| entry.data().to_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_known_by_its_first_bytes() {
        let reply = [&[0, 0, 0, 90][..], &CORRELATION_ID, &[0, 0]].concat();
        assert_eq!(peer_of(&reply), Peer::Kafka);
        assert_eq!(peer_of(&[0x15, 3, 3, 0, 2, 2, 10]), Peer::Tls);
        assert_eq!(peer_of(b"HTTP/1.1 400 Bad Request\r\n"), Peer::Other("HTTP"));
        assert_eq!(peer_of(b"SSH-2.0-OpenSSH"), Peer::Other("SSH"));
        assert_eq!(peer_of(b"-ERR unknown command"), Peer::Other("another protocol"));
        assert_eq!(peer_of(b""), Peer::Unknown);
    }

    #[test]
    fn an_address_has_a_port() {
        for (broker, host, port) in [
            ("a:1", "a", 1),
            ("a", "a", 9092),
            ("[::1]:2", "::1", 2),
            ("[::1]", "::1", 9092),
            ("10.0.0.1:3", "10.0.0.1", 3),
        ] {
            assert_eq!(host_and_port(broker), (host.to_owned(), port));
        }
    }
}
