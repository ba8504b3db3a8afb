//! A destination that is dead, or says nothing, holds up no other, however much waits for it.

use super::{config, greeted, route, same};
use pillarbox_tests::sink::{Manner, Sink, Stage};
use pillarbox_tests::{Site, free_address};
use std::time::{Duration, Instant};

const CONTENT: &str = "Subject: x\r\n\r\ntext\r\n";
const SENDERS: usize = 8;

#[test]
fn what_waits_for_the_dead_does_not_hold_up_the_living() {
    let dead = free_address();
    let mute = Sink::start(Manner::Hang(Stage::Banner));
    let live = Sink::start(Manner::Take);
    let routes = [
        route("dead.test", &format!("smtp://{dead}"), ""),
        route("mute.test", &format!("smtp://{}", mute.address()), ""),
        route("live.test", &format!("smtp://{}", live.address()), ""),
    ];
    let server = Site::new(&config("", "", &routes.concat())).start();
    let address = server.address("edge");
    std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(move || {
                let mut client = pillarbox_tests::Client::connect(address);
                client.hello();
                for number in 0..2000 / SENDERS {
                    client.deliver("a@client.test", &["b@dead.test"], CONTENT);
                    if number % 10 == 0 {
                        client.deliver("a@client.test", &["b@mute.test"], CONTENT);
                    }
                }
            });
        }
    });
    let mut client = greeted(&server);
    let begun = Instant::now();
    for _ in 0..10 {
        client.deliver("a@client.test", &["b@live.test"], CONTENT);
    }
    let taken = live.wait_for(10);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(taken.len(), 10);
    taken.iter().for_each(|taken| same("live", taken, CONTENT.as_bytes()));
    // Nor does the dead one cost an attempt for each of its messages.
    let tried = server.log().events().iter().filter(|event| event.field("error").contains(&dead.to_string())).count();
    assert!(tried < 200, "{tried} attempts at the dead one");
    // The mute one has its connections, and no more.
    assert!(mute.connections() <= 20, "{}", mute.connections());
}
