//! Metrics over HTTP: read from the maps when somebody asks. Whoever asks and then hangs holds up nobody.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context as Waker, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    extract::{ConnectInfo, State, connect_info::Connected},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    task::yield_now,
    time::{Sleep, sleep},
};

use super::{
    seats::{Place, Room, Seat, Seats},
    shared::Shared,
};

/// How long a connection may last, whatever it does: a scrape takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many connections there may be at once. Nobody knows whose they are: all are one user's.
const ROOM: Room = Room { all: 64, each: 64 };

/// That user.
const ANYBODY: u32 = 0;

/// How long to wait where it cannot listen: the loopback device of a namespace may come up late.
const AGAIN: Duration = Duration::from_secs(5);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The same text is also right in the older format.
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves metrics at an address for as long as it is polled.
pub async fn serve(address: SocketAddr, shared: Arc<Shared>) {
    let listener = listen(address).await;
    tracing::info!("metrics at http://{}/metrics", listener.local_addr().unwrap_or(address));
    shared.listens(listener.local_addr().unwrap_or(address));
    let router =
        Router::new().route("/metrics", get(metrics)).route("/healthz", get(async || "ok\n")).with_state(shared);
    let door = Door { listener, seats: Seats::new(ROOM) };
    if let Err(error) = axum::serve(door, router.into_make_service_with_connect_info::<Place>()).await {
        tracing::error!("metrics are not served any more: {error}");
    }
}

/// Says once why it cannot, and tries until it can.
async fn listen(address: SocketAddr) -> TcpListener {
    let mut said = String::new();
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) if error.to_string() != said => {
                said = error.to_string();
                tracing::error!("metrics are not served at {address}: {error}; it is tried again");
            }
            Err(_) => {}
        }
        sleep(AGAIN).await;
    }
}

async fn metrics(
    ConnectInfo(place): ConnectInfo<Place>,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Response {
    place.is_answered();
    let read = shared.metrics().await;
    place.is_silent();
    match read {
        Ok(text) => ([(header::CONTENT_TYPE, content_type(&headers))], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// OpenMetrics, unless somebody accepts other text and not that.
fn content_type(headers: &HeaderMap) -> &'static str {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    let takes = |kind: &str| accepted.contains(kind);
    if takes("text/plain") && !takes("openmetrics-text") { PLAIN } else { OPEN_METRICS }
}

/// Lets in whoever comes. Where there is no room, whoever has been silent longest goes; where all are being answered, the
/// next waits for one of them.
struct Door {
    listener: TcpListener,
    seats: Seats,
}

impl Listener for Door {
    type Io = Guest;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guest, SocketAddr) {
        // Whoever has asked already is heard before the next is let in, and is not silent by then.
        yield_now().await;
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let seat = self.seats.wait(ANYBODY).await;
        (Guest { stream, end: Box::pin(sleep(PATIENCE)), seat }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, Door>> for Place {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.io().seat.place().clone()
    }
}

/// A connection that ends when its time is over, or another needs its place.
struct Guest {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    seat: Seat,
}

impl Guest {
    fn in_time(&mut self, waker: &mut Waker<'_>) -> io::Result<()> {
        let is_over = self.end.as_mut().poll(waker).is_ready() || self.seat.poll_gone(waker).is_ready();
        if is_over { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    /// Whoever sends, or takes what it is sent, is not silent.
    fn heard<T>(&self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.seat.place().is_heard();
        }
        done
    }
}

impl AsyncRead for Guest {
    fn poll_read(mut self: Pin<&mut Self>, waker: &mut Waker<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.in_time(waker)?;
        let done = Pin::new(&mut self.stream).poll_read(waker, buffer);
        self.heard(done)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(mut self: Pin<&mut Self>, waker: &mut Waker<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.in_time(waker)?;
        let done = Pin::new(&mut self.stream).poll_write(waker, bytes);
        self.heard(done)
    }

    /// Then nobody makes a copy of the text, which is the same for all who asked at once.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        waker: &mut Waker<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.in_time(waker)?;
        let done = Pin::new(&mut self.stream).poll_write_vectored(waker, bytes);
        self.heard(done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, waker: &mut Waker<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(waker)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, waker: &mut Waker<'_>) -> Poll<io::Result<()>> {
        let _over = self.in_time(waker);
        ready!(Pin::new(&mut self.stream).poll_shutdown(waker))?;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_unless_it_is_not_wanted() {
        let of = |accept: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            accept.into_iter().for_each(|accept| {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            });
            content_type(&headers)
        };
        let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!([of(None), of(Some("*/*")), of(Some(prometheus))], [OPEN_METRICS; 3]);
        assert_eq!(of(Some("text/plain;version=0.0.4")), PLAIN);
    }
}
