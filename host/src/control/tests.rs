#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
use super::*;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};

/// Counts reloads; each waits until it may end, and then ends as it should.
struct Clerk {
    began: AtomicU32,
    ends: Notify,
    outcome: Mutex<Result<String, String>>,
}

impl Operator for Clerk {
    fn reload(&self) -> BoxFuture<'_, Result<String, String>> {
        Box::pin(async {
            self.began.fetch_add(1, Ordering::SeqCst);
            self.ends.notified().await;
            self.outcome.lock().unwrap().clone()
        })
    }

    fn rollback(&self) -> BoxFuture<'_, Result<String, String>> {
        Box::pin(async { Err("there is no generation before this one".to_owned()) })
    }

    fn status(&self) -> Status {
        Status { generation: 3, config: "two\nlines".to_owned(), ..Status::default() }
    }
}

struct Desk {
    directory: TempDir,
    clerk: Arc<Clerk>,
    stop: watch::Sender<bool>,
    served: JoinHandle<()>,
}

impl Desk {
    fn open() -> Desk {
        let directory = TempDir::new().unwrap();
        let clerk = Arc::new(Clerk {
            began: AtomicU32::new(0),
            ends: Notify::new(),
            outcome: Mutex::new(Ok("generation 2\nxclient changed".to_owned())),
        });
        let stop = watch::Sender::new(false);
        let control = Control::bind(&directory.path().join(SOCKET)).unwrap();
        let served = tokio::spawn(control.serve(Arc::clone(&clerk) as Arc<dyn Operator>, stop.subscribe()));
        Desk { directory, clerk, stop, served }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join(SOCKET)
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.path()).await.unwrap()
    }

    /// What the server says to these octets.
    async fn say(&self, octets: &[u8]) -> serde_json::Value {
        let mut stream = self.connect().await;
        let _ = stream.write_all(octets).await;
        heard(&mut stream).await
    }

    async fn ask(&self, request: Request) -> Result<Response, AskError> {
        let path = self.path();
        spawn_blocking(move || ask(&path, &request)).await.unwrap()
    }
}

async fn heard(stream: &mut UnixStream) -> serde_json::Value {
    let mut text = Vec::new();
    // What comes before a broken end counts.
    let _ = stream.read_to_end(&mut text).await;
    assert_eq!(text.iter().filter(|octet| **octet == b'\n').count(), 1);
    serde_json::from_slice(&text).unwrap()
}

#[tokio::test]
async fn orders_are_carried_out_and_answered() {
    let desk = Desk::open();
    desk.clerk.ends.notify_one();
    let reloaded = desk.ask(Request::Reload).await.unwrap();
    assert_eq!(reloaded, Response::Done("generation 2\nxclient changed".to_owned()));
    *desk.clerk.outcome.lock().unwrap() = Err("error: unknown key".to_owned());
    desk.clerk.ends.notify_one();
    let refused = desk.ask(Request::Reload).await.unwrap();
    assert_eq!(refused, Response::Refused("error: unknown key".to_owned()));
    let status = desk.ask(Request::Status).await.unwrap();
    assert_eq!(status, Response::Status(Box::new(desk.clerk.status())));
    assert_eq!(desk.clerk.began.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_is_no_order_changes_nothing() {
    let desk = Desk::open();
    let refused = |error: &str| serde_json::json!({ "ok": false, "error": error });
    let unknown = "the request cannot be understood: ";
    for (said, error) in [
        (&b"\n"[..], format!("{unknown}EOF while parsing a value at line 1 column 0")),
        (b"reload\n", format!("{unknown}expected value at line 1 column 1")),
        (b"\xff\xfe\0\n", format!("{unknown}expected value at line 1 column 1")),
        (b"{\"command\":\"restart\"}\n", {
            let known = "expected one of `reload`, `rollback`, `status`, `quarantine`, `queue`, `story`";
            format!("{unknown}unknown variant `restart`, {known} at line 1 column 20")
        }),
        (b"{\"command\":\"reload\"} {}\n", format!("{unknown}trailing characters at line 1 column 22")),
        (b"{}\n", format!("{unknown}missing field `command` at line 1 column 2")),
        (
            &[b"{\"x\":".to_vec(), b"[".repeat(3000)].concat(),
            format!("{unknown}recursion limit exceeded at line 1 column 132"),
        ),
        (&b" ".repeat(4096), "the request is longer than 4096 octets".to_owned()),
    ] {
        let mut stream = desk.connect().await;
        stream.write_all(said).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(heard(&mut stream).await, refused(&error));
    }
    assert_eq!(desk.clerk.began.load(Ordering::SeqCst), 0);
    // And the server is as willing as before.
    assert_eq!(desk.say(b"{\"command\":\"status\"}\n").await["status"]["generation"], 3);
    // The line end may be missing when the caller has no more to say, or come in pieces.
    let mut stream = desk.connect().await;
    for piece in ["{\"comm", "and\":\"sta", "tus\"}"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
    }
    stream.shutdown().await.unwrap();
    assert_eq!(heard(&mut stream).await["ok"], true);
}

#[tokio::test]
async fn an_endless_line_is_not_kept() {
    let desk = Desk::open();
    let mut stream = desk.connect().await;
    let octets = vec![b'x'; 64 * 1024];
    let mut written = 0;
    while let Ok(count) = stream.write(&octets).await {
        written += count;
        assert!(written < 16 * 1024 * 1024, "somebody reads all of it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_says_nothing_is_told_so() {
    let desk = Desk::open();
    let mut stream = desk.connect().await;
    assert_eq!(heard(&mut stream).await["error"], "no request came within 5s");
}

#[tokio::test]
async fn so_many_callers_and_no_more() {
    let desk = Desk::open();
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let mut stream = desk.connect().await;
        stream.write_all(b"{\"command\":\"reload\"}\n").await.unwrap();
        callers.push(stream);
    }
    while desk.clerk.began.load(Ordering::SeqCst) < 16 {
        tokio::task::yield_now().await;
    }
    let busy = "16 callers are being answered; try again";
    assert_eq!(heard(&mut desk.connect().await).await["error"], busy);
    assert_eq!(desk.ask(Request::Status).await.unwrap(), Response::Refused(busy.to_owned()));
    // One that does not wait gives its place free, and its reload is not cut short.
    drop(callers.pop());
    desk.clerk.ends.notify_waiters();
    for caller in &mut callers {
        assert_eq!(heard(caller).await["ok"], true);
    }
    assert!(matches!(desk.ask(Request::Status).await, Ok(Response::Status(_))));
}

#[tokio::test]
async fn stopping_lets_an_order_finish_and_takes_the_socket_away() {
    let desk = Desk::open();
    let mut stream = desk.connect().await;
    stream.write_all(b"{\"command\":\"reload\"}\n").await.unwrap();
    while desk.clerk.began.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    desk.stop.send(true).unwrap();
    while desk.path().exists() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(desk.ask(Request::Status).await, Err(AskError::NoServer { .. })));
    desk.clerk.ends.notify_one();
    assert_eq!(heard(&mut stream).await["ok"], true);
    desk.served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_for_ever() {
    let desk = Desk::open();
    let mut stream = desk.connect().await;
    stream.write_all(b"{\"command\":\"reload\"}\n").await.unwrap();
    while desk.clerk.began.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    desk.stop.send(true).unwrap();
    desk.served.await.unwrap();
}

#[tokio::test]
async fn the_socket_is_for_its_owner_and_replaces_a_dead_one() {
    let directory = TempDir::new().unwrap();
    // The directory is made, and for nobody else.
    let state = directory.path().join("state");
    let path = state.join(SOCKET);
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;

    let first = Control::bind(&path).unwrap();
    assert_eq!((mode(&state), mode(&path)), (0o700, 0o600));
    assert!(fs::metadata(&path).unwrap().file_type().is_socket());
    assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "nothing else is left in the directory");
    let error = Control::bind(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("another server answers at {}", path.display()));
    drop(first);
    assert!(!path.exists());

    // A server that was killed leaves its socket behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let second = Control::bind(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    // What took the name meanwhile is left to its owner.
    fs::remove_file(&path).unwrap();
    let successor = Control::bind(&path).unwrap();
    drop(second);
    assert!(path.exists());
    drop(successor);

    fs::write(&path, "precious").unwrap();
    let error = Control::bind(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("{} is there and is not a socket", path.display()));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

    let long = directory.path().join("d".repeat(100)).join(SOCKET);
    assert!(matches!(Control::bind(&long), Err(ControlError::TooLong(_))));
    let through_a_file = path.join("state").join(SOCKET);
    assert!(matches!(Control::bind(&through_a_file), Err(ControlError::Io { .. })));
}

#[test]
fn orders_come_from_the_owner_and_from_root() {
    for (caller, own, may) in [(1000, 1000, true), (0, 1000, true), (1001, 1000, false), (1000, 0, false), (0, 0, true)]
    {
        assert_eq!(may_order(caller, own), may);
    }
}

#[tokio::test]
async fn asking_says_why_there_is_no_answer() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join(SOCKET);
    let error = ask(&path, &Request::Status).unwrap_err();
    assert_eq!(error.to_string(), format!("no server answers at {}", path.display()));

    // Somebody else has the name, and no idea.
    for answer in ["", "hello\n", "{\"ok\":true}\n", "{\"ok\":true,\"text\":\"cut o"] {
        let (ready, is_ready) = oneshot::channel();
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let stranger = std::thread::spawn(move || {
            ready.send(()).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            io::Read::read_to_string(&mut stream, &mut request).unwrap();
            io::Write::write_all(&mut stream, answer.as_bytes()).unwrap();
            request
        });
        is_ready.await.unwrap();
        assert!(matches!(ask(&path, &Request::Reload), Err(AskError::Garbled)), "{answer}");
        assert_eq!(stranger.join().unwrap(), "{\"command\":\"reload\"}\n");
        assert!(matches!(ask(&path, &Request::Reload), Err(AskError::NoServer { .. })));
        fs::remove_file(&path).unwrap();
    }
}
