//! The queue in a world in which days pass in a moment.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize};

use tempfile::{TempDir, tempdir};
use tokio::task::JoinHandle;

use super::index::New;
use super::outside::BoxFuture;
use super::schedule::Times;
use super::*;
use crate::config::{Concurrency, Delivery, Retry};
use crate::delivery::notice::Report;
use crate::delivery::order::{Action, OrderError, Selection};
use crate::spool::{Duty, Receipt, Recipient, sample};

impl Queue {
    /// One attempt at each destination of a message, whenever it is due.
    pub(in super::super) async fn try_now(self: &Arc<Self>, id: &MessageId, fresh: bool) {
        self.take_in(id, fresh, true).await;
        let now = self.now().tick;
        let token = self.index().token(id);
        if let Some(token) = token {
            self.index().change(token, now, |entry| entry.hurry(now));
        }
        let next = || self.index().pick(now, 64);
        while let Some(start) = next() {
            self.clone().attempt(start).await;
        }
    }
}

/// How a destination behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Takes,
    /// Says "not now" to the recipient.
    Defers,
    Refuses,
    /// Cannot be reached.
    Dead,
    /// So is this, and it takes half a minute to find out.
    Hangs,
    /// Takes it, in so many milliseconds.
    Slow(u64),
    Panics,
    /// Takes it, and the message's log can no longer be written.
    BreaksLog,
}

/// When somebody was told of which message, and what.
type Told = (u64, String, Vec<(usize, Report)>);

/// A world where the domain of a recipient is its destination, and what happened in it.
#[derive(Debug)]
struct World {
    epoch: Instant,
    at: std::path::PathBuf,
    moods: Mutex<HashMap<String, Mood>>,
    /// Domains that are not destinations of their own, and where they go.
    routes: Mutex<HashMap<String, String>>,
    /// Whether nobody can be told anything.
    mute: AtomicBool,
    /// When, which message, where.
    attempts: Mutex<Vec<(u64, String, String)>>,
    delivered: Mutex<Vec<String>>,
    told: Mutex<Vec<Told>>,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl World {
    fn mood(&self, destination: &str, mood: Mood) {
        self.moods.lock().unwrap().insert(destination.to_owned(), mood);
    }

    fn route(&self, domain: &str, destination: &str) {
        self.routes.lock().unwrap().insert(domain.to_owned(), destination.to_owned());
    }

    fn elapsed(&self) -> u64 {
        schedule::millis(self.epoch.elapsed())
    }

    /// When each attempt at a message was made, in seconds.
    fn times(&self, id: &str) -> Vec<u64> {
        let attempts = self.attempts.lock().unwrap();
        attempts.iter().filter(|(_, other, _)| other == id).map(|(at, ..)| at / 1000).collect()
    }

    fn at(&self, destination: &str) -> usize {
        self.attempts.lock().unwrap().iter().filter(|(.., other)| other == destination).count()
    }
}

/// Shares the world with a queue, which holds it as what is outside of it.
#[derive(Clone, Debug)]
struct Shared(Arc<World>);

impl Outside for Shared {
    fn way(&self, _: &Envelope, recipient: &Recipient) -> Option<Way> {
        let led = self.0.routes.lock().unwrap().get(&recipient.domain).cloned();
        let (destination, concurrency) = (led.unwrap_or_else(|| recipient.domain.clone()), 20);
        (destination != "nowhere").then(|| Way { local: destination == "local", destination, concurrency })
    }

    fn deliver(&self, work: Work) -> BoxFuture<Vec<(usize, Outcome)>> {
        let world = self.0.clone();
        Box::pin(async move {
            let id = work.stored.envelope.id.as_str().to_owned();
            let mood = world.moods.lock().unwrap().get(&*work.destination).copied().unwrap_or(Mood::Takes);
            world.attempts.lock().unwrap().push((world.elapsed(), id.clone(), work.destination.to_string()));
            let now = world.now.fetch_add(1, Ordering::SeqCst) + 1;
            world.most.fetch_max(now, Ordering::SeqCst);
            match mood {
                Mood::Hangs => tokio::time::sleep(Duration::from_secs(30)).await,
                Mood::Slow(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
                _ => {}
            }
            world.now.fetch_sub(1, Ordering::SeqCst);
            let failure = |status, reach| Failure::local(status, "not at home", reach);
            let outcome = match mood {
                Mood::Panics => panic!("a bug"),
                Mood::Dead | Mood::Hangs => Outcome::Deferred(failure("4.4.1", Reach::Destination)),
                Mood::Defers => Outcome::Deferred(failure("4.2.1", Reach::Recipient)),
                Mood::Refuses => Outcome::Failed(failure("5.1.1", Reach::Recipient)),
                Mood::Takes | Mood::Slow(_) | Mood::BreaksLog => {
                    if mood == Mood::BreaksLog {
                        let log = world.at.join(format!("state/spool/queue/{id}.log"));
                        // Another destination's attempt may have ended first.
                        let _ = fs::remove_file(&log);
                        fs::create_dir(log).unwrap();
                    }
                    world.delivered.lock().unwrap().push(id);
                    let to = work.destination.to_string();
                    Outcome::Delivered(Receipt { to, remote: None, reply: None, duty: Duty::NextHop })
                }
            };
            work.recipients.iter().map(|index| (*index, outcome.clone())).collect()
        })
    }

    fn tell(&self, stored: Arc<Stored>, reports: Vec<(usize, Report)>, _: u64) -> BoxFuture<io::Result<()>> {
        let told: Vec<_> = reports.into_iter().filter(|(_, report)| !matches!(report, Report::Delivered(_))).collect();
        if !told.is_empty() && self.0.mute.load(Ordering::SeqCst) {
            return Box::pin(std::future::ready(Err(io::ErrorKind::StorageFull.into())));
        }
        if !told.is_empty() {
            let entry = (self.0.elapsed() / 1000, stored.envelope.id.as_str().to_owned(), told);
            self.0.told.lock().unwrap().push(entry);
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

struct Bed {
    at: TempDir,
    spool: Spool,
    world: Arc<World>,
    queue: Arc<Queue>,
    /// What somebody did to the clock, in milliseconds.
    offset: Arc<AtomicI64>,
    settings: Delivery,
    run: Option<(watch::Sender<bool>, JoinHandle<()>)>,
}

const BASE: i64 = 1_800_000_000_000;
const HOUR: u64 = 3600;

impl Bed {
    fn new() -> Bed {
        Bed::with(Delivery::default())
    }

    fn with(settings: Delivery) -> Bed {
        let at = tempdir().unwrap();
        let spool = Spool::open(&at.path().join("state")).unwrap();
        let world = Arc::new(World {
            epoch: Instant::now(),
            at: at.path().to_owned(),
            moods: Mutex::default(),
            routes: Mutex::default(),
            mute: AtomicBool::new(false),
            attempts: Mutex::default(),
            delivered: Mutex::default(),
            told: Mutex::default(),
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        let offset = Arc::new(AtomicI64::new(0));
        let queue = queue(&spool, &world, &offset, &settings);
        Bed { at, spool, world, queue, offset, settings, run: None }
    }

    fn start(mut self) -> Bed {
        let (stop, stopped) = watch::channel(false);
        self.run = Some((stop, tokio::spawn(self.queue.clone().run(stopped))));
        self
    }

    async fn stop(&mut self) {
        if let Some((stop, run)) = self.run.take() {
            stop.send(true).unwrap();
            run.await.unwrap();
        }
    }

    /// The server ends, and another one starts.
    async fn restart(mut self) -> Bed {
        self.stop().await;
        let Bed { at, spool, world, queue: old, offset, settings, .. } = self;
        drop((old, spool));
        // What notes that an attempt is over may still hold it.
        let spool = loop {
            match Spool::open(&at.path().join("state")) {
                Ok(spool) => break spool,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        let queue = queue(&spool, &world, &offset, &settings);
        Bed { at, spool, world, queue, offset, settings, run: None }.start()
    }

    fn wall(&self) -> u64 {
        self.queue.now().wall
    }

    async fn commit(&self, name: &str, recipients: &[&str]) {
        self.commit_with(name, recipients, |_| {}).await;
    }

    async fn commit_with(&self, name: &str, recipients: &[&str], change: impl FnOnce(&mut Envelope)) {
        let mut draft = self.spool.begin(id(name));
        draft.write(b"Subject: hello\r\n\r\nhello\r\n").await.unwrap();
        let mut envelope = envelope(name, recipients, self.wall());
        change(&mut envelope);
        draft.commit(envelope).await.unwrap();
    }

    async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    /// The statuses senders were told of a message, and when: delays have none.
    fn told(&self, id: &str) -> Vec<(u64, String)> {
        let told = self.world.told.lock().unwrap();
        let text = |report: &Report| match report {
            Report::Failed(failure) => failure.status.clone(),
            Report::Delayed(..) => "delayed".to_owned(),
            Report::Delivered(_) => "delivered".to_owned(),
        };
        let of = told.iter().filter(|(_, other, _)| other == id);
        of.flat_map(|(at, _, reports)| reports.iter().map(move |(_, report)| (*at, text(report)))).collect()
    }

    fn delivered(&self) -> usize {
        self.world.delivered.lock().unwrap().len()
    }
}

fn queue(spool: &Spool, world: &Arc<World>, offset: &Arc<AtomicI64>, settings: &Delivery) -> Arc<Queue> {
    let (clock_world, clock_offset) = (world.clone(), offset.clone());
    let clock: Clock = Arc::new(move || {
        let elapsed = i64::try_from(clock_world.elapsed()).unwrap();
        u64::try_from(BASE + elapsed + clock_offset.load(Ordering::SeqCst)).unwrap_or(0)
    });
    Arc::new(Queue::new(spool.clone(), Arc::new(Shared(world.clone())), settings.clone(), clock))
}

fn id(text: &str) -> MessageId {
    text.parse().unwrap()
}

fn envelope(name: &str, recipients: &[&str], received: u64) -> Envelope {
    let message = BTreeMap::from([("tenant".to_owned(), "blue".to_owned())]);
    Envelope { received, message, ..sample::envelope(name, recipients) }
}

/// The waits of the table in docs/delivery.md, in minutes, the first being that before the second attempt.
fn documented() -> Vec<u64> {
    let page = include_str!("../../../../docs/delivery.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let rows = rows.filter(|(number, _)| number.parse::<u32>().is_ok());
    rows.skip(1).map(|(_, rest)| rest.split_once(" min").unwrap().0.parse().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn five_days_go_by_the_documented_table() {
    for mood in [Mood::Defers, Mood::Dead] {
        let bed = Bed::new().start();
        bed.world.mood("x", mood);
        bed.commit("s.1", &["bob@x", "carol@x"]).await;
        bed.pass(6 * 24 * HOUR).await;
        let times = bed.world.times("s.1");
        let table = documented();
        assert_eq!(table.len(), 6);
        for (at, pair) in times.windows(2).enumerate() {
            let (wait, documented) = ((pair[1] - pair[0]) as f64, (table.get(at).copied().unwrap_or(60) * 60) as f64);
            assert!((wait - documented).abs() <= documented * 0.1 + 1.0, "{mood:?}: attempt {}: {wait}", at + 2);
        }
        assert!((116..=130).contains(&times.len()), "{}", times.len());
        let (day, delay) = (24 * HOUR, 4 * HOUR);
        let expected = [(delay, "delayed"), (delay, "delayed"), (5 * day, "4.4.7"), (5 * day, "4.4.7")]
            .map(|(at, t)| (at, t.to_owned()));
        assert_eq!(bed.told("s.1"), expected, "{mood:?}");
        assert_eq!(bed.spool.depth(), 0);
        assert_eq!(bed.queue.index().len(), 0);
    }
}

#[test]
fn waits_are_spread_and_always_the_same() {
    let retry = Retry::default();
    let waits: Vec<_> = (0..200).map(|at| schedule::wait(&retry, &id(&format!("s.{at}")), 1).as_secs()).collect();
    assert!(waits.iter().all(|wait| (270..=330).contains(wait)));
    assert!(waits.iter().any(|wait| *wait < 280) && waits.iter().any(|wait| *wait > 320));
    assert_eq!(schedule::wait(&retry, &id("s.1"), 1).as_secs(), waits[1]);
    assert!(schedule::wait(&retry, &id("s.1"), u32::MAX).as_secs() <= 3960);
}

#[tokio::test(start_paused = true)]
async fn a_dead_destination_holds_up_nobody() {
    for mood in [Mood::Dead, Mood::Hangs] {
        let bed = Bed::new().start();
        bed.world.mood("dead", mood);
        for at in 0..300 {
            bed.commit(&format!("d.{at}"), &["bob@dead"]).await;
        }
        bed.pass(1).await;
        for at in 0..10 {
            bed.commit(&format!("l.{at}"), &["bob@live"]).await;
        }
        bed.pass(4).await;
        assert_eq!(bed.delivered(), 10, "{mood:?}");
        bed.pass(55).await;
        assert!(bed.world.at("dead") <= 6, "{mood:?}: {}", bed.world.at("dead"));
        let logs = fs::read_dir(bed.at.path().join("state/spool/queue")).unwrap();
        let logs =
            logs.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|it| it == "log")).count();
        assert!(logs <= 6, "what waits costs nothing: {logs}");
        // It comes back: one goes ahead, and the others follow.
        bed.world.mood("dead", Mood::Slow(100));
        bed.world.most.store(0, Ordering::SeqCst);
        bed.pass(10 * 60).await;
        assert_eq!((bed.delivered(), bed.spool.depth()), (310, 0), "{mood:?}");
        assert!(bed.world.most.load(Ordering::SeqCst) <= 20, "{mood:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_dead_destinations_leave_half_to_the_living() {
    let bed = Bed::with(Delivery { concurrency: Concurrency(10), ..Delivery::default() }).start();
    bed.commit("l.first", &["bob@live"]).await;
    bed.pass(1).await;
    for at in 0..100 {
        bed.world.mood(&format!("dead{at}"), Mood::Hangs);
        bed.commit(&format!("d.{at}"), &[&format!("bob@dead{at}")]).await;
    }
    bed.pass(1).await;
    for at in 0..30 {
        bed.commit(&format!("l.{at}"), &["bob@live"]).await;
    }
    bed.pass(2).await;
    assert_eq!(bed.delivered(), 31);
}

#[tokio::test(start_paused = true)]
async fn many_that_hang_keep_nobody_from_a_first_attempt() {
    let bed = Bed::with(Delivery { concurrency: Concurrency(64), ..Delivery::default() });
    for at in 0..150 {
        bed.world.mood(&format!("dead{at}"), Mood::Hangs);
        bed.commit(&format!("d.{at}"), &[&format!("bob@dead{at}")]).await;
    }
    let bed = bed.start();
    bed.pass(1).await;
    bed.commit("l.1", &["bob@unknown"]).await;
    bed.pass(6).await;
    assert_eq!(bed.delivered(), 1);
    let most = bed.world.most.load(Ordering::SeqCst);
    assert!(most <= 64 + 512, "{most}");
}

#[tokio::test(start_paused = true)]
async fn many_that_answered_and_hang_at_once_keep_nobody_waiting() {
    for (slots, destinations, messages) in [(64, 150, 3), (4, 16, 3), (64, 250, 10)] {
        let bed = Bed::with(Delivery { concurrency: Concurrency(slots), ..Delivery::default() }).start();
        let hanging: Vec<_> = (0..destinations).map(|at| format!("h{at}")).chain(["local".to_owned()]).collect();
        for name in hanging.iter().map(String::as_str).chain(["live"]) {
            // Twice, so that it is known as one that answers.
            bed.commit(&format!("p.{name}"), &[&format!("bob@{name}")]).await;
            bed.commit(&format!("q.{name}"), &[&format!("bob@{name}")]).await;
        }
        bed.pass(5).await;
        let before = bed.delivered();
        assert_eq!(before, 2 * (hanging.len() + 1));
        for name in &hanging {
            bed.world.mood(name, Mood::Hangs);
            for at in 0..messages {
                bed.commit(&format!("h.{name}.{at}"), &[&format!("bob@{name}")]).await;
            }
        }
        for name in ["live", "unknown"] {
            bed.commit(&format!("l.{name}"), &[&format!("bob@{name}")]).await;
        }
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(bed.delivered(), before + 2, "{slots} {destinations}");
        bed.pass(10).await;
        let most = bed.world.most.load(Ordering::SeqCst);
        assert!(most <= slots as usize + 512, "{slots} {destinations}: {most}");
    }
}

/// An index where destinations have served, and as many attempts hang as are given: at destinations that answered, and
/// at others, one at each.
struct Hung {
    index: Index,
    hung: Vec<Start>,
    messages: usize,
}

impl Hung {
    fn new(sure: usize, doubtful: usize, proven: &[(&str, bool)]) -> Hung {
        let mut hung = Hung { index: Index::default(), hung: Vec::new(), messages: 0 };
        let names: Vec<_> = (0..sure).map(|at| format!("sure{at}")).collect();
        for (name, local) in names.iter().map(|name| (name.as_str(), false)).chain(proven.iter().copied()) {
            // Enough of them for every place that a destination can have.
            for _ in 0..5 {
                hung.insert(name, local);
                hung.serve(1);
            }
        }
        for at in 0..doubtful {
            hung.insert(&format!("dead{at}"), false);
        }
        names.iter().for_each(|name| hung.insert(name, false));
        assert_eq!(hung.hang(usize::MAX), sure + doubtful);
        hung
    }

    fn insert(&mut self, name: &str, local: bool) {
        let way = Way { destination: name.to_owned(), concurrency: 20, local };
        self.messages += 1;
        self.index.insert(new(&format!("m.{}", self.messages), 0, vec![way]), 0).unwrap();
    }

    /// Serves so many at most, one at a time. How many it were.
    fn serve(&mut self, most: usize) -> usize {
        let starts = (0..most).map_while(|_| {
            let start = self.index.pick(0, 64)?;
            self.index.finish(&start, Verdict::Reached(true), Next::Done, 0, |_, _| Duration::ZERO);
            Some(start)
        });
        starts.count()
    }

    /// Begins so many at most, and each lingers.
    fn hang(&mut self, most: usize) -> usize {
        let before = self.hung.len();
        while self.hung.len() - before < most
            && let Some(start) = self.index.pick(0, 64)
        {
            self.index.linger(&start);
            self.hung.push(start);
        }
        self.hung.len() - before
    }
}

#[test]
fn hosts_that_hang_in_doubt_stop_none_that_answers() {
    // Attempts that hang where somebody answers, in doubt, and whether a destination with two more begins others.
    for (sure, doubtful, begins) in [
        (0, 260, true),
        (0, 512, true),
        (0, 540, true),
        (200, 260, true),
        (253, 540, true),
        (254, 0, false),
        (300, 260, false),
    ] {
        for (name, local) in [("smarthost", false), ("maildir", true)] {
            let case = format!("{name} {sure} {doubtful}");
            let mut hung = Hung::new(sure, doubtful, &[(name, local)]);
            for _ in 0..20 {
                hung.insert(name, local);
            }
            assert_eq!(hung.hang(2), 2, "{case}");
            assert_eq!(hung.serve(100), if begins { 18 } else { 0 }, "{case}");
        }
    }
}

#[test]
fn who_was_kept_out_by_a_crowd_goes_on_when_it_is_none() {
    let mut hung = Hung::new(254, 0, &[("smarthost", false)]);
    for _ in 0..20 {
        hung.insert("smarthost", false);
    }
    assert_eq!((hung.hang(2), hung.serve(100)), (2, 0));
    let other = hung.hung.remove(0);
    hung.index.finish(&other, Verdict::Reached(true), Next::Done, 0, |_, _| Duration::ZERO);
    assert_eq!(hung.serve(100), 18);
}

#[test]
fn any_number_that_hang_take_what_they_may_and_no_more() {
    let mut hung = Hung::new(0, 512 + 32, &[("smarthost", false)]);
    hung.insert("unknown", false);
    assert_eq!(hung.hang(100), 0, "those in doubt have half of the places");
    for _ in 0..40 {
        hung.insert("smarthost", false);
    }
    assert_eq!(hung.serve(100), 40);
}

#[test]
fn a_message_is_over_once_for_all_its_destinations() {
    let mut index = Index::default();
    let way = |name: &str| Way { destination: name.to_owned(), concurrency: 20, local: false };
    let token = index.insert(new("s.1", 0, vec![way("a"), way("b")]), 0).unwrap();
    assert_eq!([(); 3].map(|()| index.expire(token)), [true, false, false]);
}

#[test]
fn twenty_thousand_for_a_dead_host_cost_no_turn() {
    let mut index = Index::default();
    let way = |name: &str| Way { destination: name.to_owned(), concurrency: 20, local: false };
    for at in 0..20_000 {
        index.insert(new(&format!("d.{at}"), 0, vec![way("dead")]), 0).unwrap();
    }
    let first = index.pick(0, 64).unwrap();
    let reason = Failure::local("4.4.1", "dead", Reach::Destination);
    while index.pick(0, 64).is_some() {}
    index.finish(&first, Verdict::Unreached(reason), Next::Due(1000), 0, |_, _| Duration::from_secs(10));
    for at in 0..10 {
        index.insert(new(&format!("l.{at}"), 0, vec![way("live")]), 1).unwrap();
    }
    let mut live = 0;
    while let Some(start) = index.pick(1, 64) {
        assert_eq!(&*start.destination, "live");
        index.finish(&start, Verdict::Reached(true), Next::Done, 1, |_, _| Duration::ZERO);
        live += 1;
    }
    assert_eq!(live, 10);
    assert_eq!(index.wake_at(true), Some(10), "the events of this test's messages, and nothing sooner");
}

fn new(name: &str, due: u64, ways: Vec<Way>) -> New {
    let times = Times { warns: None, ends: 10 + due, by_deadline: false };
    New { id: id(name), received: 0, priority: 0, held: false, number: 0, fresh: false, due, times, ways }
}

#[test]
fn a_hundred_thousand_messages_are_small() {
    let resident = || {
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let before = resident();
    let mut index = Index::default();
    for at in 0..100_000 {
        let way = Way { destination: format!("smtp://mx{}.example.net:25", at % 1000), concurrency: 20, local: false };
        index
            .insert(new(&format!("01K0000000000000000000{at:06}.1"), u64::from(at % 2 == 0) * 1000, vec![way]), 5)
            .unwrap();
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 80 * 1024 * 1024, "{grown}");
    while let Some(start) = index.pick(5, 1000) {
        index.forget(start.token);
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_where_it_was() {
    let bed = Bed::new().start();
    bed.world.mood("x", Mood::Defers);
    bed.commit("s.1", &["bob@x"]).await;
    bed.pass(7 * 60).await;
    let before = bed.world.times("s.1");
    assert_eq!(before.len(), 2);
    let bed = bed.restart().await;
    bed.pass(60).await;
    assert_eq!(bed.world.times("s.1"), before, "the wait goes on");
    bed.pass(60 * 60).await;
    let times = bed.world.times("s.1");
    assert!((540..=661).contains(&(times[2] - times[1])), "{times:?}");
    assert!((1080..=1321).contains(&(times[3] - times[2])), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_downtime_ends_in_an_attempt_and_not_in_a_bounce() {
    let mut bed = Bed::new().start();
    bed.world.mood("x", Mood::Defers);
    bed.commit("s.1", &["bob@x"]).await;
    bed.pass(60).await;
    bed.stop().await;
    bed.pass(7 * 24 * HOUR).await;
    bed.world.mood("x", Mood::Takes);
    let bed = bed.restart().await;
    bed.pass(15).await;
    assert_eq!((bed.delivered(), bed.told("s.1")), (1, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn no_clock_that_is_set_moves_an_attempt() {
    const DAY: i64 = 24 * 3600 * 1000;
    for offset in [-DAY, DAY, -BASE, 80 * 365 * DAY] {
        let bed = Bed::new().start();
        bed.world.mood("x", Mood::Defers);
        bed.commit("s.1", &["bob@x"]).await;
        bed.pass(60).await;
        bed.offset.store(offset, Ordering::SeqCst);
        bed.pass(4 * 60 - 31).await;
        assert_eq!(bed.world.times("s.1").len(), 1, "{offset}");
        bed.pass(62).await;
        assert_eq!(bed.world.times("s.1").len(), 2, "{offset}");
        assert_eq!(bed.told("s.1"), []);
        let bed = bed.restart().await;
        bed.pass(11 * 60 + 1).await;
        assert_eq!(bed.world.times("s.1").len(), 3, "{offset}: no longer than it was");
    }
}

#[tokio::test(start_paused = true)]
async fn destinations_of_one_message_go_their_own_ways() {
    let bed = Bed::new().start();
    bed.world.mood("late", Mood::Defers);
    bed.world.mood("never", Mood::Refuses);
    bed.commit_with("s.1", &["a@now", "b@late", "c@never", "d@nowhere", "e@now"], |envelope| {
        envelope.recipients[4].refused = Some(Failure::local("5.7.1", "policy", Reach::Recipient));
    })
    .await;
    bed.pass(10).await;
    assert_eq!(bed.spool.peek(&id("s.1")).await.unwrap().progress.pending(), [1, 3]);
    let mut told: Vec<_> = bed.told("s.1").into_iter().map(|(_, status)| status).collect();
    told.sort();
    assert_eq!(told, ["5.1.1", "5.7.1"]);
    bed.world.mood("late", Mood::Takes);
    bed.pass(6 * 60).await;
    assert_eq!(bed.spool.peek(&id("s.1")).await.unwrap().progress.pending(), [3]);
    bed.pass(6 * 24 * HOUR).await;
    assert_eq!((bed.spool.depth(), bed.delivered()), (0, 2));
    assert_eq!(bed.told("s.1").len(), 4, "one delay and one end more");
}

#[tokio::test(start_paused = true)]
async fn the_operator_has_a_hand_in_it() {
    let bed = Bed::new().start();
    bed.world.mood("x", Mood::Defers);
    bed.world.mood("dead", Mood::Dead);
    for (name, recipient) in [("s.1", "bob@x"), ("s.2", "bob@x"), ("s.3", "carol@x"), ("s.4", "bob@dead")] {
        bed.commit(name, &[recipient]).await;
    }
    bed.pass(1).await;
    let queue = &bed.queue;
    queue.act(&id("s.1"), Action::Hold).await.unwrap();
    queue.act(&id("s.2"), Action::Delete).await.unwrap();
    queue.act(&id("s.3"), Action::Bounce).await.unwrap();
    assert_eq!(queue.counts().held, 1);
    assert_eq!(bed.told("s.3").iter().map(|(_, status)| status.as_str()).collect::<Vec<_>>(), ["5.7.1"]);
    assert!(matches!(queue.act(&id("s.2"), Action::Hold).await, Err(OrderError::Gone)));
    assert!(matches!(queue.act(&id("s.1"), Action::Retry).await, Err(OrderError::Held)));
    assert!(queue.counts().destinations.iter().any(|it| it.destination == "dead" && it.resting.is_some()));
    bed.world.mood("dead", Mood::Takes);
    queue.act(&id("s.4"), Action::Retry).await.unwrap();
    bed.pass(1).await;
    assert_eq!(bed.delivered(), 1);
    bed.pass(6 * 24 * HOUR).await;
    assert_eq!((bed.world.times("s.1").len(), bed.told("s.1").len()), (1, 0), "it is held");
    let bed = bed.restart().await;
    bed.pass(60).await;
    assert_eq!((bed.world.times("s.1").len(), bed.queue.counts().held), (1, 1));
    bed.world.mood("x", Mood::Takes);
    bed.queue.act(&id("s.1"), Action::Release).await.unwrap();
    bed.pass(60).await;
    assert_eq!((bed.delivered(), bed.spool.depth(), bed.told("s.1").len()), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_is_neither_deleted_nor_bounced() {
    let bed = Bed::new().start();
    bed.world.mood("x", Mood::Slow(5000));
    bed.commit("s.1", &["bob@x"]).await;
    bed.pass(1).await;
    for action in [Action::Delete, Action::Bounce] {
        assert!(matches!(bed.queue.act(&id("s.1"), action).await, Err(OrderError::Busy)));
    }
    assert_eq!(bed.queue.show(&id("s.1")).await.unwrap().next, None);
    bed.pass(10).await;
    assert_eq!((bed.delivered(), bed.told("s.1").len(), bed.spool.depth()), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_queue_can_be_looked_at() {
    let bed = Bed::new().start();
    bed.world.mood("x", Mood::Defers);
    bed.world.mood("X", Mood::Defers);
    for (name, recipients) in [("s.1", &["bob@x"][..]), ("s.2", &["carol@x", "bob@y"]), ("s.3", &["Dave@X"])] {
        bed.commit(name, recipients).await;
    }
    bed.commit_with("s.4", &["bob@x"], |envelope| envelope.sender.clear()).await;
    fs::write(bed.at.path().join("state/spool/queue/s.5"), "PILLARBOX-SPOOL 9\n").unwrap();
    bed.pass(30).await;
    let all = bed.queue.page(&Selection::default(), None, 100).await.unwrap();
    let ids = |page: &crate::delivery::order::Page| {
        page.messages.iter().map(|waiting| waiting.id.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (ids(&all), all.faults.len(), all.more.clone()),
        (["s.1", "s.2", "s.3", "s.4"].map(String::from).to_vec(), 1, None)
    );
    let wait = all.messages[0].next.unwrap() - bed.wall();
    assert!((230_000..=310_000).contains(&wait), "{wait}");
    assert_eq!((all.messages[0].attempts, all.messages[0].recipients[0].1.as_str()), (1, "x"));
    let first = bed.queue.page(&Selection::default(), None, 2).await.unwrap();
    assert_eq!((ids(&first), first.more.as_deref()), (["s.1", "s.2"].map(String::from).to_vec(), Some("s.2")));
    // The pages of one list are of the moment it began at: the directory is not read for each.
    bed.commit("s.21", &["bob@x"]).await;
    let rest = bed.queue.page(&Selection::default(), Some("s.2"), 10).await.unwrap();
    assert_eq!(ids(&rest), ["s.3", "s.4"]);
    let rest = bed.queue.page(&Selection::default(), Some("s.2"), 10).await.unwrap();
    assert_eq!(ids(&rest), ["s.21", "s.3", "s.4"], "its last page ends it");
    bed.queue.act(&id("s.21"), Action::Delete).await.unwrap();
    let text = |text: &str| Some(text.to_owned());
    for (selection, expected) in [
        (Selection { sender: text("A@Example.test"), ..Selection::default() }, &["s.1", "s.2", "s.3"][..]),
        (Selection { sender: text("@example.TEST"), ..Selection::default() }, &["s.1", "s.2", "s.3"]),
        (Selection { sender: text("<>"), ..Selection::default() }, &["s.4"]),
        (Selection { recipient: text("carol@x"), ..Selection::default() }, &["s.2"]),
        (Selection { recipient: text("bob@y"), ..Selection::default() }, &[]),
        (Selection { recipient: text("@x"), ..Selection::default() }, &["s.1", "s.2", "s.3", "s.4"]),
        (Selection { destination: text("X"), ..Selection::default() }, &["s.3"]),
        (Selection { older_than: Some(Duration::from_secs(60)), ..Selection::default() }, &[]),
        (
            Selection { younger_than: Some(Duration::from_secs(60)), held: Some(false), ..Selection::default() },
            &["s.1", "s.2", "s.3", "s.4"],
        ),
        (Selection { held: Some(true), ..Selection::default() }, &[]),
        (
            Selection { meta: vec![("tenant".to_owned(), text("blue"))], ..Selection::default() },
            &["s.1", "s.2", "s.3", "s.4"],
        ),
        (Selection { meta: vec![("tenant".to_owned(), text("red"))], ..Selection::default() }, &[]),
        (Selection { meta: vec![("other".to_owned(), None)], ..Selection::default() }, &[]),
    ] {
        assert_eq!(ids(&bed.queue.page(&selection, None, 100).await.unwrap()), expected, "{selection:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_breaks_attempts_off_is_set_aside() {
    let bed = Bed::new().start();
    bed.world.mood("poison", Mood::Panics);
    bed.commit("s.0", &["bob@poison"]).await;
    for at in 1..20 {
        bed.commit(&format!("s.{at}"), &["bob@x"]).await;
    }
    bed.pass(60).await;
    assert_eq!((bed.delivered(), bed.spool.depth()), (19, 1));
    let bed = bed.restart().await;
    bed.pass(3 * HOUR).await;
    assert_eq!(bed.world.times("s.0").len(), 3);
    assert_eq!((bed.spool.depth(), bed.spool.quarantined(), bed.told("s.0").len()), (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn suspects_are_tried_alone() {
    let bed = Bed::new();
    for at in 0..9 {
        bed.commit(&format!("s.{at}"), &["bob@x"]).await;
    }
    for name in ["s.4", "s.7"] {
        std::mem::forget(bed.spool.begin_attempt(&id(name)).await);
    }
    // A process that dies gives its lock back, and does no more.
    let world = bed.world.clone();
    world.mood("x", Mood::Slow(900));
    let at = bed.at.path().join("state");
    let copy = tempdir().unwrap();
    let copied = std::process::Command::new("cp").arg("-a").arg(&at).arg(copy.path()).status().unwrap();
    assert!(copied.success());
    let spool = Spool::open(&copy.path().join("state")).unwrap();
    assert_eq!(spool.suspects(), [id("s.4"), id("s.7")]);
    let queue = queue(&spool, &world, &bed.offset, &bed.settings);
    let (_stop, stopped) = watch::channel(false);
    let _run = tokio::spawn(queue.run(stopped));
    tokio::time::sleep(Duration::from_millis(1700)).await;
    assert_eq!(world.most.load(Ordering::SeqCst), 1);
    assert_eq!(world.attempts.lock().unwrap().iter().map(|(_, id, _)| id.as_str()).collect::<Vec<_>>(), ["s.4", "s.7"]);
    bed.pass(60).await;
    assert_eq!((bed.delivered(), spool.depth()), (9, 0));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_its_peer_is_no_suspect() {
    let bed = Bed::new().start();
    bed.world.mood("hangs", Mood::Slow(3_600_000));
    bed.commit("s.1", &["bob@hangs"]).await;
    let copies = tempdir().unwrap();
    // What the next process would find if this one were killed now.
    let suspects = |name: &str| {
        let (from, to) = (bed.at.path().join("state"), copies.path().join(name));
        assert!(std::process::Command::new("cp").arg("-a").arg(from).arg(&to).status().unwrap().success());
        Spool::open(&to).unwrap().suspects()
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(suspects("at once"), [id("s.1")]);
    bed.pass(2).await;
    assert_eq!(bed.world.at("hangs"), 1);
    assert_eq!(suspects("later"), []);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_recorded_is_not_done_again() {
    let bed = Bed::new().start();
    bed.world.mood("breaks", Mood::BreaksLog);
    bed.world.mood("late", Mood::Defers);
    bed.commit("s.1", &["a@breaks", "b@late"]).await;
    bed.pass(5).await;
    bed.commit("s.2", &["a@x"]).await;
    bed.pass(2 * HOUR).await;
    assert_eq!((bed.delivered(), bed.world.at("breaks"), bed.world.at("x")), (1, 1, 0), "delivery pauses");
    for action in [Action::Hold, Action::Retry, Action::Delete] {
        let name = id("s.1");
        let order = tokio::time::timeout(Duration::from_secs(10), bed.queue.act(&name, action)).await;
        assert!(matches!(order, Ok(Err(OrderError::Busy))), "the operator is told: {order:?}");
    }
    fs::remove_dir(bed.at.path().join("state/spool/queue/s.1.log")).unwrap();
    bed.pass(30).await;
    assert_eq!((bed.world.at("breaks"), bed.world.at("x")), (1, 1), "and goes on by itself");
    assert_eq!(bed.spool.peek(&id("s.1")).await.unwrap().progress.pending(), [1]);
}

#[tokio::test(start_paused = true)]
async fn what_has_no_room_in_memory_is_read_from_disk_later() {
    let mut bed = Bed::new();
    Arc::get_mut(&mut bed.queue).unwrap().most = 10;
    bed.world.mood("x", Mood::Slow(10));
    let bed = bed.start();
    for at in 0..60 {
        bed.commit(&format!("s.{at}"), &["bob@x"]).await;
        assert!(bed.queue.index().len() <= 10);
    }
    bed.pass(120).await;
    assert_eq!((bed.delivered(), bed.spool.depth()), (60, 0));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_lost_whose_route_changes_before_an_attempt() {
    let bed = Bed::new().start();
    bed.world.route("z", "x");
    bed.world.mood("x", Mood::Defers);
    bed.commit("s.1", &["a@x", "b@z"]).await;
    bed.pass(1).await;
    // The queue is not read through again before its next attempt.
    bed.world.route("z", "y");
    bed.world.mood("x", Mood::Takes);
    bed.pass(10 * 60).await;
    assert_eq!((bed.world.at("x"), bed.world.at("y")), (2, 1));
    assert_eq!((bed.delivered(), bed.spool.depth(), bed.queue.index().len()), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_lost_whose_route_changes_during_an_attempt() {
    let bed = Bed::new().start();
    bed.world.mood("x", Mood::Slow(30_000));
    bed.world.mood("y", Mood::Dead);
    bed.commit("s.1", &["a@x", "b@y"]).await;
    bed.pass(5).await;
    bed.world.route("y", "x");
    bed.queue.follow(bed.settings.clone());
    bed.pass(5).await;
    assert_eq!(bed.delivered(), 0);
    bed.pass(60).await;
    assert_eq!((bed.world.at("x"), bed.delivered()), (2, 2));
    assert_eq!((bed.spool.depth(), bed.queue.index().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_notice_that_cannot_be_kept_holds_up_its_own_message_alone() {
    let retry = Retry { first: Duration::from_secs(300), expire: Duration::from_secs(1800), ..Retry::default() };
    let bed = Bed::with(Delivery { retry, ..Delivery::default() }).start();
    bed.world.mute.store(true, Ordering::SeqCst);
    bed.world.mood("strict", Mood::Refuses);
    bed.world.mood("late", Mood::Defers);
    bed.commit("s.1", &["a@strict"]).await;
    bed.commit("s.2", &["a@late"]).await;
    bed.pass(5).await;
    bed.commit("s.3", &["a@x"]).await;
    bed.pass(10).await;
    assert_eq!((bed.delivered(), bed.spool.depth()), (1, 2), "others go on");
    assert!(matches!(bed.queue.act(&id("s.2"), Action::Bounce).await, Err(OrderError::Io(_))));
    bed.pass(HOUR).await;
    assert_eq!((bed.spool.depth(), bed.told("s.1").len(), bed.told("s.2").len()), (2, 0, 0), "and nobody is dropped");
    bed.world.mute.store(false, Ordering::SeqCst);
    bed.pass(2 * HOUR).await;
    let told = |name: &str| bed.told(name).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
    assert_eq!(told("s.2"), ["4.4.7"]);
    assert_eq!(told("s.1").len(), 1);
    assert_eq!(bed.spool.depth(), 0);
}

#[tokio::test(start_paused = true)]
async fn suspects_that_take_long_hold_up_the_others_for_a_minute_in_all() {
    let bed = Bed::new();
    for at in 0..20 {
        let (name, to) = (format!("s.{at}"), format!("bob@slow{at}"));
        bed.world.mood(&format!("slow{at}"), Mood::Hangs);
        bed.commit(&name, &[&to]).await;
        std::mem::forget(bed.spool.begin_attempt(&id(&name)).await);
    }
    bed.commit("s.live", &["bob@x"]).await;
    let copy = tempdir().unwrap();
    let copied = std::process::Command::new("cp").arg("-a").arg(bed.at.path().join("state")).arg(copy.path()).status();
    assert!(copied.unwrap().success());
    let spool = Spool::open(&copy.path().join("state")).unwrap();
    assert_eq!(spool.suspects().len(), 20);
    let queue = queue(&spool, &bed.world, &bed.offset, &bed.settings);
    let (_stop, stopped) = watch::channel(false);
    let _run = tokio::spawn(queue.run(stopped));
    bed.pass(62).await;
    assert_eq!(bed.world.at("x"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_set_aside_during_an_attempt_can_be_released() {
    let bed = Bed::new().start();
    bed.world.mood("slow", Mood::Slow(20 * 60 * 1000));
    bed.world.mood("poison", Mood::Panics);
    bed.commit("s.1", &["a@slow", "b@poison"]).await;
    bed.pass(25 * 60).await;
    assert_eq!((bed.delivered(), bed.spool.depth(), bed.spool.quarantined()), (1, 0, 1));
    bed.world.mood("slow", Mood::Takes);
    bed.world.mood("poison", Mood::Takes);
    bed.spool.release(&id("s.1")).await.unwrap();
    bed.pass(60).await;
    // Whom the attempt served that was under way is served again.
    assert_eq!((bed.delivered(), bed.spool.depth(), bed.spool.quarantined()), (3, 0, 0));
}
