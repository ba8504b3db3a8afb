//! Files that are replaced while they are in use, by a given clock.

use super::clients::Clock;
use super::*;
use crate::tls::renewal::{Event, Refreshed, Watcher, What};
use rcgen::date_time_ymd as day;
use std::cell::Cell;
use time::OffsetDateTime;
use tokio::sync::watch as channel;

/// A pair for mx.example.org that holds between two times.
fn between(from: OffsetDateTime, to: OffsetDateTime) -> Pair {
    let mut params = CertificateParams::new(vec!["mx.example.org".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (from, to);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Pair { der: certificate.der().clone(), chain: certificate.pem(), key: key.serialize_pem() }
}

/// Puts another file in the place of `path`: written over, it might look the same within a tick of the clock of files.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

struct Site {
    directory: TempDir,
    tls: Tls,
    clock: Arc<Clock>,
    acceptor: Acceptor,
}

fn site(pair: &Pair, now: OffsetDateTime) -> Site {
    let directory = TempDir::new().unwrap();
    let tls = written(directory.path(), &[(&pair.chain, &pair.key)]);
    let clock = Clock::at(now);
    let acceptor = Acceptor::load_by(&tls, clock.clone()).unwrap();
    Site { directory, tls, clock, acceptor }
}

impl Site {
    fn write(&self, chain: &str, key: &str) {
        replace(&self.tls.certificates[0].chain, chain);
        replace(&self.tls.certificates[0].key, key);
    }

    /// As text, without the directory.
    fn refresh(&self) -> String {
        let Refreshed { certificates, authorities, failures } = self.acceptor.refresh();
        let changed = (authorities || !certificates.is_empty()).then(|| "Changed".to_owned());
        let told: Vec<_> = changed.into_iter().chain(failures.iter().map(|error| chained(error))).collect();
        let text = if told.is_empty() { "Same".to_owned() } else { told.join("; ") };
        text.replace(&format!("{}/", self.directory.path().display()), "")
    }

    /// Whether it presents this pair.
    fn presents(&self, pair: &Pair) -> bool {
        self.acceptor.0.served.load().pairs[0].validity.digest == certificate::digest(std::slice::from_ref(&pair.der))
    }
}

const MISMATCH: &str =
    "cannot use the private key key0.pem: the key in it does not belong to the first certificate of the chain";

/// With the clock of the files, every look reads them again; long after, only what changed is read.
fn times() -> [OffsetDateTime; 2] {
    [day(2026, 1, 15), day(2100, 1, 15)]
}

#[test]
fn what_can_be_used_takes_the_place_and_nothing_else() {
    for now in times() {
        let (old, new) = (pair("mx.example.org"), pair("mx.example.org"));
        let site = site(&old, now);
        assert_eq!(site.refresh(), "Same");
        for (chain, key, said) in [
            (&*new.chain, &*old.key, MISMATCH),
            (
                &new.chain[..new.chain.len() / 2],
                &new.key,
                "cannot use the certificate chain chain0.pem: a PEM section in it has no end; is it written only in part?",
            ),
            ("", &new.key, "cannot use the certificate chain chain0.pem: it holds no certificate in PEM"),
            ("", "", "cannot use the certificate chain chain0.pem: it holds no certificate in PEM"),
            (
                &new.chain,
                "",
                "cannot use the private key key0.pem: it holds no private key in PEM (PKCS #8, PKCS #1 or SEC 1)",
            ),
        ] {
            site.write(chain, key);
            assert_eq!(site.refresh(), said);
            // Said once, and kept.
            assert_eq!(site.refresh(), "Same");
            let [kept] = &*site.acceptor.renewal_errors() else { panic!("one error") };
            assert!(said.ends_with(&kept[kept.rfind(": ").unwrap()..]), "{kept}");
            assert!(site.presents(&old));
        }
        fs::remove_file(&site.tls.certificates[0].key).unwrap();
        assert_eq!(
            site.refresh(),
            "cannot use the private key key0.pem: it cannot be read: No such file or directory (os error 2)"
        );
        site.write(&new.chain, &new.key);
        assert_eq!(site.refresh(), "Changed");
        assert!(site.presents(&new) && site.acceptor.renewal_errors().is_empty());
        assert_eq!(site.refresh(), "Same");
        // A mistake that was taken back.
        site.write(&new.chain, &old.key);
        assert_eq!(site.refresh(), MISMATCH);
        site.write(&new.chain, &new.key);
        assert_eq!(site.refresh(), "Same");
        assert!(site.acceptor.renewal_errors().is_empty());
        // The same mistake, made again, is said again.
        site.write(&new.chain, &old.key);
        assert_eq!(site.refresh(), MISMATCH);
    }
}

#[test]
fn what_holds_is_not_replaced_by_what_does_not() {
    let (from, to, now) = (day(2100, 1, 1), day(2100, 3, 1), day(2100, 1, 15));
    let expired = "cannot use the certificate chain chain0.pem: its certificate has expired";
    let early = "cannot use the certificate chain chain0.pem: its certificate does not hold yet";
    let good = between(from, to);
    let site = site(&good, now);
    let past = between(day(2099, 1, 1), day(2100, 1, 1));
    site.write(&past.chain, &past.key);
    assert_eq!(site.refresh(), expired);
    let future = between(day(2100, 2, 1), day(2100, 4, 1));
    site.write(&future.chain, &future.key);
    assert_eq!(site.refresh(), early);
    assert_eq!(site.refresh(), "Same");
    assert!(site.presents(&good));
    // Its day comes, and nobody writes it again for that.
    site.clock.set(day(2100, 2, 2));
    assert_eq!(site.refresh(), "Changed");
    assert!(site.presents(&future));
    // When neither holds, what was written last is meant.
    site.clock.set(day(2100, 5, 1));
    site.write(&past.chain, &past.key);
    assert_eq!(site.refresh(), "Changed");
    assert!(site.presents(&past));
}

#[tokio::test]
async fn sessions_are_resumed_until_the_certificate_is_another() {
    let (old, new) = (pair("mx.example.org"), pair("mx.example.org"));
    let (full, resumed) = (HandshakeKind::Full, HandshakeKind::Resumed);
    for version in [&TLS13, &TLS12] {
        let site = site(&old, day(2026, 1, 15));
        let config = Arc::new(client(&[&old, &new], &[version]));
        let mut seen = Vec::new();
        for pair in [&old, &old, &new, &new] {
            // Written each time, and the same every other time.
            site.write(&pair.chain, &pair.key);
            let refreshed = site.refresh();
            let (_, shown, kind) = connect(&site.acceptor.clone(), &config, "mx.example.org").await;
            seen.push((refreshed, kind));
            assert!(kind == resumed || shown == pair.der);
        }
        let expected = [("Same", full), ("Same", resumed), ("Changed", full), ("Same", resumed)];
        assert_eq!(seen, expected.map(|(refreshed, kind)| (refreshed.to_owned(), kind)), "{version:?}");
    }
}

#[tokio::test]
async fn who_takes_the_place_of_another_keeps_its_tickets_and_its_own_files() {
    let (one, two) = (pair("mx.example.org"), pair("mx.example.org"));
    let before = site(&one, day(2026, 1, 15));
    let config = Arc::new(client(&[&one, &two], &[&TLS13]));
    let mut kinds = vec![connect(&before.acceptor, &config, "mx.example.org").await.2];
    let same = site(&one, day(2026, 1, 15));
    same.acceptor.inherit(&before.acceptor);
    kinds.push(connect(&same.acceptor, &config, "mx.example.org").await.2);
    assert_eq!(same.acceptor.validity()[0].chain, same.tls.certificates[0].chain);
    // It looks at its own files.
    same.write(&two.chain, &two.key);
    assert_eq!(same.refresh(), "Changed");
    let other = site(&two, day(2026, 1, 15));
    other.acceptor.inherit(&before.acceptor);
    kinds.push(connect(&other.acceptor, &config, "mx.example.org").await.2);
    assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Full]);
}

#[test]
fn days_are_counted_down_and_on() {
    let pair = between(day(2026, 1, 1), day(2026, 4, 1));
    let validity = site(&pair, day(2026, 1, 1)).acceptor.validity()[0].clone();
    let second = time::Duration::SECOND;
    for (now, days) in [
        (day(2025, 12, 31), 91),
        (day(2026, 1, 1), 90),
        (day(2026, 1, 1) + second, 89),
        (day(2026, 3, 31), 1),
        (day(2026, 3, 31) + second, 0),
        (day(2026, 4, 1), 0),
        (day(2026, 4, 1) + second, -1),
        (day(2026, 4, 2), -2),
        (day(2026, 5, 1), -31),
    ] {
        assert_eq!(validity.days_left(now.into()), days, "{now}");
        // The sign alone tells.
        assert_eq!(days < 0, validity.standing(now.into()) == Standing::Expired, "{now}");
    }
}

/// In short.
fn told(events: Vec<Event>) -> Vec<String> {
    let short = |Event { listener, what }| match what {
        What::Renewed(validity) => format!("{listener} renewed {}", observe_day(&validity)),
        What::Authorities => format!("{listener} authorities"),
        What::NotRenewed(_) => format!("{listener} not renewed"),
        What::Ageing(validity, days) => format!("{listener} {days} days, {}", observe_day(&validity)),
        What::Expired(validity) => format!("{listener} expired {}", observe_day(&validity)),
    };
    events.into_iter().map(short).collect()
}

fn observe_day(validity: &Validity) -> String {
    OffsetDateTime::from(validity.not_after).date().to_string()
}

#[test]
fn every_news_is_told_once() {
    let year = between(day(2100, 1, 1), day(2100, 12, 27));
    let edge = site(&year, day(2100, 1, 15));
    let acceptors = [("edge".to_owned(), edge.acceptor.clone())];
    let mut watcher = Watcher::default();
    let look = |watcher: &mut Watcher, now| {
        edge.clock.set(now);
        told(watcher.look(&acceptors))
    };
    // 360 days: the last third begins at the 29th of August.
    for (now, expected) in [
        (day(2100, 1, 15), &[][..]),
        (day(2100, 8, 28), &[]),
        (day(2100, 8, 30), &["edge 119 days, 2100-12-27"]),
        (day(2100, 8, 31), &[]),
        (day(2100, 12, 27), &[]),
        (day(2100, 12, 28), &["edge expired 2100-12-27"]),
        (day(2100, 12, 29), &[]),
    ] {
        assert_eq!(look(&mut watcher, now), expected, "{now}");
    }
    // Straight from good to expired.
    let mut second = Watcher::default();
    assert!(look(&mut second, day(2100, 2, 1)).is_empty());
    assert_eq!(look(&mut second, day(2101, 2, 1)), ["edge expired 2100-12-27"]);

    let next = between(day(2100, 12, 1), day(2101, 3, 1));
    edge.write(&next.chain, &year.key);
    assert_eq!(look(&mut watcher, day(2100, 12, 30)), ["edge not renewed"]);
    assert!(look(&mut watcher, day(2100, 12, 31)).is_empty());
    edge.write(&next.chain, &next.key);
    assert_eq!(look(&mut watcher, day(2101, 1, 1)), ["edge renewed 2101-03-01"]);
    assert!(look(&mut watcher, day(2101, 1, 2)).is_empty());
    // One that is old when it comes is renewed and warned of.
    let short = between(day(2100, 1, 1), day(2101, 3, 2));
    edge.write(&short.chain, &short.key);
    let news = ["edge renewed 2101-03-02", "edge 58 days, 2101-03-02"];
    assert_eq!(look(&mut watcher, day(2101, 1, 3)), news);
    assert!(look(&mut watcher, day(2101, 1, 3)).is_empty());
}

#[test]
fn listeners_are_told_apart_and_what_was_loaded_otherwise_is_no_news() {
    let old = between(day(2099, 1, 1), day(2099, 6, 1));
    let good = between(day(2100, 1, 1), day(2100, 6, 1));
    let now = day(2100, 1, 15);
    let (edge, inner) = (site(&old, now), site(&good, now));
    let entry = |name: &str, site: &Site| (name.to_owned(), site.acceptor.clone());
    let mut watcher = Watcher::default();
    // Expired at the start: whoever loaded it said so.
    assert!(watcher.look(&[entry("edge", &edge), entry("inner", &inner)]).is_empty());
    edge.write(&good.chain, &good.key);
    inner.write("", "");
    let both = [entry("edge", &edge), entry("inner", &inner)];
    assert_eq!(told(watcher.look(&both)), ["edge renewed 2100-06-01", "inner not renewed"]);
    // A reload put another in the place.
    let reloaded = site(&old, now);
    assert!(watcher.look(&[entry("edge", &reloaded)]).is_empty());
    // One that was gone is seen for the first time.
    assert!(watcher.look(&[entry("inner", &inner)]).is_empty());
}

#[test]
fn each_pair_stands_on_its_own_and_so_do_the_authorities() {
    let [one, two, other, authority] = [1, 2, 3, 4].map(|month| between(day(2100, 1, 1), day(2101, month, 1)));
    let past = between(day(2099, 1, 1), day(2100, 1, 1));
    let directory = TempDir::new().unwrap();
    let mut tls = written(directory.path(), &[(&one.chain, &one.key), (&two.chain, &two.key)]);
    tls.clients = config::TlsClients::Optional;
    tls.client_authorities = vec![directory.path().join("authorities.pem")];
    fs::write(&tls.client_authorities[0], &one.chain).unwrap();
    let acceptor = Acceptor::load_by(&tls, Clock::at(day(2100, 1, 15))).unwrap();
    let acceptors = [("edge".to_owned(), acceptor.clone())];
    let mut watcher = Watcher::default();
    let write = |index: usize, chain: &str, key: &str| {
        replace(&tls.certificates[index].chain, chain);
        replace(&tls.certificates[index].key, key);
    };
    let served = || -> Vec<String> { acceptor.validity().iter().map(observe_day).collect() };
    // The first goes wrong, in whatever way, and the others are renewed.
    write(0, &past.chain, &past.key);
    write(1, &other.chain, &other.key);
    assert_eq!(told(watcher.look(&acceptors)), ["edge renewed 2101-03-01", "edge not renewed"]);
    assert_eq!(served(), ["2101-01-01", "2101-03-01"]);
    write(0, "", &one.key);
    replace(&tls.client_authorities[0], &authority.chain);
    assert_eq!(told(watcher.look(&acceptors)), ["edge authorities", "edge not renewed"]);
    // What is known of the first is not said again when the second is written.
    write(1, &two.chain, &two.key);
    replace(&tls.client_authorities[0], "");
    assert_eq!(told(watcher.look(&acceptors)), ["edge renewed 2101-02-01", "edge not renewed"]);
    let errors = acceptor.renewal_errors();
    assert!(
        errors.len() == 2 && errors[0].contains("chain0.pem") && errors[1].contains("authorities.pem"),
        "{errors:?}"
    );
    write(0, &one.chain, &one.key);
    replace(&tls.client_authorities[0], &one.chain);
    assert_eq!(told(watcher.look(&acceptors)), ["edge authorities"]);
    assert_eq!((served(), acceptor.renewal_errors()), (vec!["2101-01-01".to_owned(), "2101-02-01".to_owned()], vec![]));
}

#[test]
fn only_what_changed_is_news() {
    let [one, two, other] = [1, 2, 3].map(|month| between(day(2100, 1, 1), day(2101, month, 1)));
    let directory = TempDir::new().unwrap();
    let mut tls = written(directory.path(), &[(&one.chain, &one.key), (&two.chain, &two.key)]);
    tls.clients = config::TlsClients::Optional;
    tls.client_authorities = vec![directory.path().join("authorities.pem")];
    fs::write(&tls.client_authorities[0], &one.chain).unwrap();
    let acceptor = Acceptor::load_by(&tls, Clock::at(day(2100, 1, 15))).unwrap();
    let acceptors = [("edge".to_owned(), acceptor)];
    let mut watcher = Watcher::default();
    assert!(watcher.look(&acceptors).is_empty());
    replace(&tls.certificates[1].chain, &other.chain);
    replace(&tls.certificates[1].key, &other.key);
    assert_eq!(told(watcher.look(&acceptors)), ["edge renewed 2101-03-01"]);
    replace(&tls.client_authorities[0], &two.chain);
    assert_eq!(told(watcher.look(&acceptors)), ["edge authorities"]);
    // The same for who never looked before.
    replace(&tls.client_authorities[0], &one.chain);
    assert_eq!(told(Watcher::default().look(&acceptors)), ["edge authorities"]);
    replace(&tls.client_authorities[0], "");
    assert_eq!(told(watcher.look(&acceptors)), ["edge not renewed"]);
}

#[tokio::test(start_paused = true)]
async fn the_watch_looks_until_it_is_stopped() {
    let (old, new) = (pair("mx.example.org"), pair("mx.example.org"));
    let site = site(&old, day(2026, 1, 15));
    let (stop, stopped) = channel::channel(false);
    let looks = Cell::new(0);
    let acceptors = || {
        looks.set(looks.get() + 1);
        match looks.get() {
            3 => site.write(&new.chain, &new.key),
            // By now it has looked after it was written.
            5 => drop(stop.send(true)),
            _ => {}
        }
        vec![("edge".to_owned(), site.acceptor.clone())]
    };
    watch(acceptors, Duration::from_secs(2), stopped).await;
    assert_eq!(looks.get(), 5);
    assert!(site.presents(&new));
}

#[tokio::test]
async fn the_watch_ends_with_whoever_could_stop_it() {
    let (stop, stopped) = channel::channel(false);
    let task = tokio::spawn(watch(Vec::new, Duration::from_secs(2), stopped));
    drop(stop);
    task.await.unwrap();
}
