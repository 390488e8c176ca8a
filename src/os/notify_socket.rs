//! The service manager's datagram socket (`NOTIFY_SOCKET`): a path, or a name in Linux' abstract namespace, which
//! starts with `@`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Sends one message without waiting.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] if the receiver's queue is full; otherwise there is no such socket, or its receiver is gone.
pub fn send(address: &OsStr, message: &[u8]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    let sent = socket.send_to_addr(message, &parse(address)?)?;
    if sent == message.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

fn parse(address: &OsStr) -> io::Result<SocketAddr> {
    match address.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name),
        _ => SocketAddr::from_pathname(address),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::linux::net::SocketAddrExt;

    use super::*;

    #[test]
    fn an_abstract_name_and_a_path_are_reached() {
        let name = format!("kafka-actors-notify-{}-{:x}", std::process::id(), rand::random::<u64>());
        let listener = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let on_disk = UnixDatagram::bind(&path).unwrap();
        for (address, listener) in [(OsStr::new(&format!("@{name}")), &listener), (path.as_os_str(), &on_disk)] {
            send(address, b"READY=1\n").unwrap();
            let mut received = [0; 64];
            let length = listener.recv(&mut received).unwrap();
            assert_eq!(&received[..length], b"READY=1\n");
        }
        assert!(send(OsStr::new("@no-such-socket-of-a-test"), b"READY=1\n").is_err());
    }
}
