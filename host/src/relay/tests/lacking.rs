//! Servers that lack what a message needs.

use super::sink::Sink;
use super::*;

const UMLAUT: &[u8] = b"Subject: hello\r\n\r\ngr\xc3\xbcn\r\n";
const UMLAUT_SEVEN: &[u8] =
    b"Subject: hello\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n\
                              Content-Transfer-Encoding: quoted-printable\r\n\r\ngr=C3=BCn\r\n";
const HEADER: &[u8] = b"Subject: gr\xc3\xbcn\r\n\r\n\r\n";
const BINARY: &[u8] = b"MIME-Version: 1.0\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\n";
const BINARY_LINES: &[u8] =
    b"MIME-Version: 1.0\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\nAAo=\r\n";

/// Content, what MAIL said, sender and recipient; what the server announces; the rest of the conversation behind MAIL and RCPT
/// as it has to be said, what comes of it, and what the server has then.
#[tokio::test]
#[allow(clippy::type_complexity, reason = "a table, written once")]
async fn what_a_server_lacks_is_made_up_for_or_ends_it() {
    let (a, b, domain, local) = ("a@example.test", "b@example.test", "c@b\u{fc}cher.test", "\u{fc}@example.test");
    let eight = ("BODY", Some("8BITMIME"));
    let (binary, utf8) = (("BODY", Some("BINARYMIME")), ("SMTPUTF8", None));
    let mail = |parameters: &str, sender: &str, recipient: &str| {
        format!("C: MAIL FROM:<{sender}>{parameters}\nS: 250 ok\nC: RCPT TO:<{recipient}>\nS: 250 ok\n")
    };
    let data = "C: DATA\nS: 354 go\nMESSAGE\nS: 250 ok\nEND";
    let taken = "delivered 250 ok";
    let ascii = "c@xn--bcher-kva.test";
    let size = UMLAUT.len();
    let cases: Vec<(&[u8], _, _, _, _, String, _, Option<&[u8]>)> = vec![
        (UMLAUT, vec![eight], a, b, "HELP", mail("", a, b) + data, taken, Some(UMLAUT_SEVEN)),
        (UMLAUT, vec![eight], a, b, "SIZE", mail("", a, b) + data, taken, Some(UMLAUT_SEVEN)),
        (UMLAUT, vec![eight], a, b, "8BITMIME", mail(" BODY=8BITMIME", a, b) + data, taken, Some(UMLAUT)),
        (
            UMLAUT,
            vec![],
            a,
            b,
            "8BITMIME\nS: 250-SIZE",
            mail(&format!(" SIZE={size} BODY=8BITMIME"), a, b) + data,
            taken,
            Some(UMLAUT),
        ),
        (BINARY, vec![binary], a, b, "BINARYMIME", mail("", a, b) + data, taken, Some(BINARY_LINES)),
        (
            BINARY,
            vec![binary],
            a,
            b,
            "BINARYMIME\nS: 250-CHUNKING",
            mail(" BODY=BINARYMIME", a, b) + "CHUNKS\nS: 250 ok\nEND",
            taken,
            Some(BINARY),
        ),
        (HEADER, vec![eight], a, b, "HELP", "END".to_owned(), "failed 5.6.3 message", None),
        (HEADER, vec![eight, utf8], a, b, "8BITMIME", "END".to_owned(), "failed 5.6.9 message", None),
        (HELLO, vec![utf8], local, b, "8BITMIME", "END".to_owned(), "failed 5.6.7 message", None),
        (HELLO, vec![utf8], a, local, "8BITMIME", "END".to_owned(), "failed 5.6.7 recipient", None),
        (HELLO, vec![utf8], domain, domain, "HELP", mail("", ascii, ascii) + data, taken, Some(HELLO)),
        (HELLO, vec![utf8], a, b, "HELP", mail("", a, b) + data, taken, Some(HELLO)),
    ];
    let mut bed = Bed::new();
    for (content, parameters, sender, recipient, announced, rest, expected, sent) in cases {
        let what = format!("{} {parameters:?} {sender} {recipient} {announced}", content.escape_ascii());
        let sink =
            Sink::start(&[&format!("S: 220 mx\nC: EHLO *\nS: 250-mx\nS: 250-{announced}\nS: 250 NOOP\n{rest}")]).await;
        let recipients = [recipient];
        let message = bed.message(content, &recipients, |envelope| {
            envelope.sender = sender.to_owned();
            let said = parameters.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)));
            envelope.parameters.extend(said);
        });
        let stored = message.await;
        assert_eq!(deliver_words(&relay(to(HopProtocol::Smtp, sink.address)), &stored).await, [expected], "{what}");
        let messages = sink.messages();
        assert_eq!(
            messages.first().map(|message| message.escape_ascii().to_string()),
            sent.map(|sent| sent.escape_ascii().to_string()),
            "{what}"
        );
        sink.is_content();
    }
}
