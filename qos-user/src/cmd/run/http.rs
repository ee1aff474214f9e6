//! Metrics over HTTP: read from the maps when somebody asks. Whoever asks and then hangs holds up nobody.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context as Waker, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
    serve::Listener,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};

use super::shared::Shared;

/// How long a connection may last, whatever it does: a scrape takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many connections there may be at once; the next waits for the end of one.
const ROOM: usize = 64;

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
    let door = Door { listener, room: Arc::new(Semaphore::new(ROOM)) };
    if let Err(error) = axum::serve(door, router).await {
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

async fn metrics(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    match tokio::task::spawn_blocking(move || shared.metrics()).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, content_type(&headers))], text).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// OpenMetrics, unless somebody accepts other text and not that.
fn content_type(headers: &HeaderMap) -> &'static str {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    let takes = |kind: &str| accepted.contains(kind);
    if takes("text/plain") && !takes("openmetrics-text") { PLAIN } else { OPEN_METRICS }
}

/// Lets in as many as there is room for.
struct Door {
    listener: TcpListener,
    room: Arc<Semaphore>,
}

impl Listener for Door {
    type Io = Guest;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guest, SocketAddr) {
        // It is never closed.
        let Ok(place) = Arc::clone(&self.room).acquire_owned().await else { return std::future::pending().await };
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (Guest { stream, end: Box::pin(sleep(PATIENCE)), _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when its time is over.
struct Guest {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Guest {
    fn in_time(&mut self, waker: &mut Waker<'_>) -> io::Result<()> {
        match self.end.as_mut().poll(waker) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Guest {
    fn poll_read(mut self: Pin<&mut Self>, waker: &mut Waker<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.in_time(waker)?;
        Pin::new(&mut self.stream).poll_read(waker, buffer)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(mut self: Pin<&mut Self>, waker: &mut Waker<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.in_time(waker)?;
        Pin::new(&mut self.stream).poll_write(waker, bytes)
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
