// An example: a small policy in JavaScript that is asked at every hook there is.
//
// It is written to be read and copied; leave out the hooks you have no use for, here and in `extension.json`. Its sister
// in Python, `../python/policy.py`, does the same.

import * as advertise from 'pillarbox:extension/advertise@0.1.0';
import * as contextRead from 'pillarbox:extension/context-read@0.1.0';
import * as contextWrite from 'pillarbox:extension/context-write@0.1.0';
import * as declare from 'pillarbox:extension/declare@0.1.0';
import * as envelope from 'pillarbox:extension/envelope-read@0.1.0';
import * as messageRead from 'pillarbox:extension/message-read@0.1.0';
import * as session from 'pillarbox:extension/session@0.1.0';
import * as state from 'pillarbox:extension/state@0.1.0';
import * as pillarbox from './pillarbox.js';

const { hook, info, next, octets, reject, reply, setting, text } = pillarbox;

const LANGUAGE = 'JavaScript';
const VERB = 'XPOLICY';
const MECHANISM = 'XTOKEN';

// Filled by `init`, which every instance runs before its first hook; nothing else is kept in globals.
let rules;

export const lifecycle = pillarbox.lifecycle(() => {
    pillarbox.onlySettings('clients', 'names', 'addresses', 'most', 'marker', 'users', 'drill');
    rules = {
        clients: setting('clients', 'texts', []),
        names: setting('names', 'texts', []),
        addresses: setting('addresses', 'texts', []),
        most: Number(setting('most', 'integer', 100n)),
        marker: setting('marker', 'text', ''),
        users: new Map(setting('users', 'texts', []).map(user)),
        drill: setting('drill', 'boolean', false),
    };
    declare.keyword(VERB, undefined);
    declare.verb(VERB, { beforeHello: false, inTransaction: false, onlyTls: false, lastInGroup: false });
    // A hook without work is not asked, and its grant need not be given.
    if (rules.users.size === 0) {
        declare.without('verify');
        declare.without('authenticate');
    } else {
        declare.mechanism(MECHANISM);
    }
});

function user(entry) {
    const [name, password, ...rest] = entry.split(':');
    if (!name || !password || rest.length > 0) throw `\`users\`: "${entry}" is not NAME:PASSWORD`;
    return [name, password];
}

export const connect = hook({
    connect() {
        const { address } = session.client().endpoint;
        info(`connect from ${address} to ${session.listener()}`);
        if (rules.clients.includes(address)) return reject(reply(554, '5.7.1', 'no mail from this address'));
        return next();
    },
});

export const hello = hook({
    hello(verb, domain) {
        info(`${verb} ${domain}`);
        if (rules.names.includes(domain.toLowerCase())) return reject(reply(550, '5.7.1', 'no mail from this name'));
        // The keyword says how often this session was refused, and is not there for those the operator lets by.
        if (bypassed()) advertise.hide(VERB);
        else advertise.show(VERB, `REFUSED=${refusals()}`);
        return next();
    },
});

// XPOLICY asks two questions, each with a 3xx, and says what would become of an address. What was answered goes along in
// the state: the next line may find another instance.
export const command = hook({
    begin(verb, argument) {
        if (argument !== '') return { tag: 'done', val: reply(501, '5.5.4', `${verb} takes no argument`) };
        return question('sender or recipient?', {});
    },
    resume(before, line) {
        const { role } = JSON.parse(text(before));
        const said = text(line).trim().toLowerCase();
        if (role === undefined) return question('which address?', { role: said });
        const fate = rules.addresses.includes(said) ? 'refused' : 'taken';
        return { tag: 'done', val: reply(250, '2.0.0', `as ${LANGUAGE} sees it, this ${role} is ${fate}`) };
    },
});

function question(words, known) {
    const pending = { reply: reply(354, undefined, words), state: octets(JSON.stringify(known)) };
    return { tag: 'more', val: pending };
}

// A mechanism of its own: the name, then the password, each behind a challenge.
export const authenticate = hook({
    begin(mechanism, initial) {
        info(`asked for ${mechanism}`);
        return initial === undefined || initial === null ? challenge('name?', {}) : named(initial);
    },
    resume(before, response) {
        const { name } = JSON.parse(text(before));
        if (name === undefined) return named(response);
        if (!matches(name, text(response))) return { tag: 'failure', val: undefined };
        return { tag: 'success', val: { user: name, data: undefined } };
    },
});

const named = (name) => challenge('password?', { name: text(name) });

function challenge(words, known) {
    return { tag: 'challenge', val: { challenge: octets(words), state: octets(JSON.stringify(known)) } };
}

export const verify = hook({
    password(user, password) {
        info('asked for a password');
        return matches(user, password) ? { tag: 'yes', val: user } : { tag: 'no' };
    },
    // These users have no SCRAM verifier.
    lookup() {
        info('asked for a verifier');
        return { tag: 'no' };
    },
});

// An unknown user takes as long as a wrong password, and the first wrong letter ends nothing. What is said is never logged.
function matches(name, password) {
    const right = octets(rules.users.get(name) ?? '');
    const given = octets(password);
    let difference = right.length ^ given.length;
    for (let at = 0; at < given.length; at += 1) difference |= given[at] ^ (right[at] ?? 0);
    return difference === 0 && right.length > 0;
}

export const mail = hook({
    mail(sender, parameters) {
        info(`MAIL <${sender}> ${parameters.map(({ name, value }) => `${name}=${value ?? ''}`).join(' ')}`);
        return judge(sender, 'sender refused');
    },
});

export const recipient = hook({
    recipient(address, _parameters) {
        if (rules.drill) fail(address);
        info(`RCPT <${address}> after ${envelope.recipients().length}`);
        return judge(address, 'recipient refused');
    },
});

function judge(address, words) {
    if (bypassed() || !rules.addresses.includes(address.toLowerCase())) return next();
    state.set('connection', 'refusals', octets(String(refusals() + 1)));
    return reject(reply(550, '5.7.1', `${words} (${LANGUAGE})`));
}

// With `drill = true` it fails on purpose, for who wants to see what a failure does.
function fail(address) {
    if (address.startsWith('throw@')) throw new Error(`a drill for ${address}`);
    while (address.startsWith('loop@'));
}

export const data = hook({
    data() {
        const count = envelope.recipients().length;
        info(`DATA from <${envelope.sender()}> for ${count}`);
        if (count > rules.most) return pillarbox.tempfail(reply(452, '4.5.3', 'too many recipients'));
        return next();
    },
});

export const message = hook({
    message() {
        const names = messageRead.headers().map(({ name }) => name);
        info(`message of ${messageRead.size()} octets with ${names.join(' ')}`);
        const [subject] = messageRead.headerValues('Subject');
        if (subject !== undefined) {
            contextWrite.set('message', 'policy_subject', text(subject).replace(/\s+/gu, ' ').trim().slice(0, 200));
        }
        contextWrite.set('message', 'policy_language', LANGUAGE);
        const body = messageRead.bodyOffset();
        const found = rules.marker === '' ? undefined : messageRead.find(octets(rules.marker), body);
        if (found !== undefined && found !== null) {
            const line = text(messageRead.read(found, 40)).split(/[\r\n]/u)[0];
            info(`refused for: ${line}`);
            return reject(reply(550, '5.7.1', `message refused (${LANGUAGE})`));
        }
        return next();
    },
});

export const accepted = hook({
    accepted(id) {
        const subject = contextRead.get('message', 'policy_subject');
        info(`accepted ${id} for ${envelope.recipients().join(' ')}: ${subject ?? 'no subject'}`);
    },
});

export const disconnect = hook({
    disconnect() {
        info(`${refusals()} addresses refused in this session`);
    },
});

// How often this session was refused. A global would forget: instances come and go in a session.
function refusals() {
    const count = state.get('connection', 'refusals');
    return count === undefined || count === null ? 0 : Number(text(count));
}

// The operator can switch the policy off for a network, by `context = { policy_bypass = "true" }` in a peer block.
function bypassed() {
    return contextRead.get('connection', 'policy_bypass') === 'true';
}
