//! The commands that ask the running server about messages that wait, and tell the story of one: many answers to one
//! question, or a log that is read instead.

use crate::{complain, put, say, say_json, send, unexpected};
use pillarbox::cli::{Chosen, ExitCode, OrderArgs, QueueCommand, ServerArgs, StoryArgs};
use pillarbox::control::{self, AskError, QueueOrder, QueuePage, Request, Response, Tale};
use pillarbox::delivery::{Action, Selection};
use pillarbox::observe;
use std::fs::File;
use std::io::{self, BufReader};

/// `pillarbox queue …`.
pub fn queue(command: &QueueCommand) -> Result<ExitCode, ExitCode> {
    match command {
        QueueCommand::List { selection, json, server } => list_queue(server, &selection.selection(), *json),
        QueueCommand::Show { id, raw, server } => show_queued(server, id, *raw),
        QueueCommand::Retry(order)
        | QueueCommand::Hold(order)
        | QueueCommand::Release(order)
        | QueueCommand::Delete(order)
        | QueueCommand::Bounce(order) => match command.order() {
            Some((action, _)) => act(order, action),
            None => Ok(ExitCode::Usage),
        },
    }
}

/// Text goes out answer by answer; JSON is one object, so it has to wait for all of it.
fn list_queue(server: &ServerArgs, selection: &Selection, json: bool) -> Result<ExitCode, ExitCode> {
    let mut all = QueuePage::default();
    pages(server, selection, |page| match json {
        true => {
            all.messages.extend(page.messages);
            all.faults.extend(page.faults);
            Ok(())
        }
        false => match say(&page.to_string()) {
            ExitCode::Success => Ok(()),
            failed => Err(failed),
        },
    })?;
    Ok(if json { say_json(&all) } else { ExitCode::Success })
}

/// Calls `each` with one part of the queue after the other.
fn pages(
    server: &ServerArgs,
    selection: &Selection,
    mut each: impl FnMut(QueuePage) -> Result<(), ExitCode>,
) -> Result<(), ExitCode> {
    let mut after = None;
    loop {
        let order = QueueOrder::List { selection: selection.clone(), after: after.clone() };
        let mut page = match send(server, &Request::Queue(order))? {
            Response::Queue(page) => page,
            other => return Err(unexpected(other)),
        };
        let next = page.after.take();
        each(page)?;
        // A server that does not get on would be asked for ever.
        if next.is_none() || next <= after {
            return Ok(());
        }
        after = next;
    }
}

fn show_queued(server: &ServerArgs, id: &str, raw: bool) -> Result<ExitCode, ExitCode> {
    let mut octets = Vec::new();
    let mut head = None;
    loop {
        let offset = octets.len() as u64;
        let letter = match send(server, &Request::Queue(QueueOrder::Show { id: id.to_owned(), offset }))? {
            Response::Letter(letter) => letter,
            other => return Err(unexpected(other)),
        };
        let more = letter.octets().ok_or_else(|| complain(&AskError::Garbled, ExitCode::Failure))?;
        octets.extend(&more);
        let whole = more.is_empty() || octets.len() as u64 >= letter.message.size;
        // What is remembered of it comes with the first part alone.
        let head = head.get_or_insert(letter);
        if whole {
            return Ok(match raw {
                true => put(&octets),
                false => say(&format!("{head}\n{}", control::page(&octets))),
            });
        }
    }
}

/// One line for each message, and how many there were. Of those that were named each must be done; of those that were
/// selected one may have ended meanwhile.
fn act(args: &OrderArgs, action: Action) -> Result<ExitCode, ExitCode> {
    let (mut count, mut failed) = (0_u64, 0_u64);
    let word = control::done(action);
    let mut carry_out = |ids: &[String], named: bool| -> Result<(), ExitCode> {
        if args.dry_run {
            count += ids.len() as u64;
            for id in ids {
                say(&format!("{} would be {word}\n", observe::escape(id)));
            }
            return Ok(());
        }
        for ids in ids.chunks(QueueOrder::IDS) {
            let acted = match send(&args.server, &Request::Queue(QueueOrder::Act { ids: ids.to_vec(), action }))? {
                Response::Acted(acted) => acted,
                other => return Err(unexpected(other)),
            };
            for it in acted {
                let id = observe::escape(&it.id);
                match it.error {
                    None => {
                        count += 1;
                        say(&format!("{id} {word}\n"));
                    }
                    Some(_) if it.gone && !named => {}
                    Some(error) => {
                        failed += 1;
                        eprintln!("{id} not {word}: {}", observe::escape(&error));
                    }
                }
            }
        }
        Ok(())
    };
    match args.chosen() {
        Ok(Chosen::Named(ids)) if args.dry_run => {
            for id in ids {
                match send(&args.server, &Request::Queue(QueueOrder::Show { id: id.clone(), offset: 0 }))? {
                    Response::Letter(_) => carry_out(&[id], true)?,
                    other => return Err(unexpected(other)),
                }
            }
        }
        Ok(Chosen::Named(ids)) => carry_out(&ids, true)?,
        Ok(Chosen::Selected(selection)) => pages(&args.server, &selection, |page| {
            let ids: Vec<String> = page.messages.into_iter().map(|message| message.id).collect();
            carry_out(&ids, false)
        })?,
        Err(_) => return Err(ExitCode::Usage),
    }
    let messages = if count == 1 { "1 message".to_owned() } else { format!("{count} messages") };
    let not = if failed > 0 { format!(", {failed} not") } else { String::new() };
    let would = if args.dry_run { "would be " } else { "" };
    say(&format!("{messages} {would}{word}{not}\n"));
    Ok(if failed > 0 { ExitCode::Failure } else { ExitCode::Success })
}

/// `pillarbox story …`.
pub fn story(args: &StoryArgs) -> Result<ExitCode, ExitCode> {
    let tale = if args.log.is_empty() { remembered(args)? } else { read_story(args)? };
    if tale.is_empty() {
        let whence = if args.log.is_empty() { "the server remembers nothing of" } else { "the log says nothing of" };
        eprintln!("{whence} {}{}", observe::escape(&args.id), before(&tale));
        return Ok(ExitCode::Refused);
    }
    let code = if args.json { say_json(&tale) } else { say(&tale.to_string()) };
    if tale.lacks_its_beginning() {
        eprintln!("the beginning is missing{}", before(&tale));
    }
    Ok(code)
}

/// Where to look for what is not remembered.
fn before(tale: &Tale) -> String {
    let since = tale
        .since
        .as_deref()
        .map(|since| format!("; what was before {} is in its log: --log FILE", observe::escape(since)));
    since.unwrap_or_default()
}

/// What the running server knows, however many answers that takes.
fn remembered(args: &StoryArgs) -> Result<Tale, ExitCode> {
    let mut events = Vec::new();
    let mut from = 0;
    loop {
        let tale = match send(&args.server, &Request::Story { id: args.id.clone(), from })? {
            Response::Story(tale) => *tale,
            other => return Err(unexpected(other)),
        };
        events.extend(tale.events);
        match tale.next.filter(|next| *next > from) {
            Some(next) => from = next,
            None => {
                return Ok(Tale {
                    id: tale.id,
                    events,
                    queued: tale.queued,
                    kept: tale.kept,
                    since: tale.since,
                    cut: tale.cut,
                    next: None,
                });
            }
        }
    }
}

fn read_story(args: &StoryArgs) -> Result<Tale, ExitCode> {
    let mut story = observe::Story::of(&args.id);
    for path in &args.log {
        let read = match path.as_os_str() == "-" {
            true => story.read(io::stdin().lock()),
            false => File::open(path).and_then(|file| story.read(BufReader::new(file))),
        };
        if let Err(error) = read {
            eprintln!("cannot read {}: {error}", path.display());
            return Err(ExitCode::Refused);
        }
    }
    let cut = story.was_cut();
    let events = story.end().into_iter().map(|(_, event)| event).collect();
    Ok(Tale { id: args.id.clone(), events, cut, ..Tale::default() })
}
