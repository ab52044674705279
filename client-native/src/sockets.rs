//! The `webrtc` crate's door to tokio, with more room in each UDP socket.
//!
//! A system's default (208 KiB on Linux) holds some three milliseconds of a fast sender's packets. A process that was busy for longer lost the
//! rest of a burst, the end of it too, and SCTP waited out its retransmission timer: a second in which nothing came (measured: 2.9 % of
//! datagrams, two such seconds in a download of five).

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime,
    TokioRuntime,
};

/// Tokio, as `webrtc` has it.
#[derive(Debug)]
pub struct Roomy;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Runtime for Roomy {
    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let room = SockRef::from(&socket);
        // As much as the system allows: Linux gives less without a word, others refuse and keep what they had.
        let _ = room.set_recv_buffer_size(ROOM);
        let _ = room.set_send_buffer_size(ROOM);
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(future)
    }

    fn spawn_reactor(&self, size: usize, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn_reactor(size, future)
    }

    fn wrap_tcp_listener(&self, listener: TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        address: SocketAddr,
    ) -> Boxed<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        TokioRuntime.connect_tcp(address)
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        TokioRuntime.resolve_host(host)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        TokioRuntime.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }

    fn yield_now(&self) -> Boxed<'static, ()> {
        TokioRuntime.yield_now()
    }

    fn name(&self) -> &'static str {
        TokioRuntime.name()
    }
}

/// Bytes: what a window of SCTP holds (1 MiB), for a few connections of one socket at once.
const ROOM: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_has_as_much_room_as_the_system_allows() {
        let plain = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let before = SockRef::from(&plain).recv_buffer_size().expect("a size");
        let roomy = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let same = roomy.try_clone().expect("a handle");
        let _socket = Roomy.wrap_udp_socket(roomy).expect("a socket");
        let after = SockRef::from(&same).recv_buffer_size().expect("a size");
        assert!(after > before, "{after} after {before}");
    }
}
