"""An example: a small policy in Python that is asked at every hook there is.

It is written to be read and copied; leave out the hooks you have no use for, here and in `extension.json`. Its sister in
JavaScript, `../javascript/policy.js`, does the same.
"""

import hmac
import json

from wit_world import exports
from wit_world.exports import authenticate, command, verify
from wit_world.imports import (
    advertise,
    context_read,
    context_write,
    declare,
    envelope_read,
    message_read,
    session,
    state,
)
from wit_world.imports.types import Scope

import pillarbox
from pillarbox import go_on, info, reject, reply, setting

LANGUAGE = "Python"
VERB = "XPOLICY"
MECHANISM = "XTOKEN"


class Rules:
    """What the settings say. `init` reads them, which every instance runs before its first hook; nothing else is kept in
    globals."""

    def __init__(self):
        pillarbox.only_settings("clients", "names", "addresses", "most", "marker", "users", "drill")
        self.clients = setting("clients", "texts", [])
        self.names = setting("names", "texts", [])
        self.addresses = setting("addresses", "texts", [])
        self.most = setting("most", "integer", 100)
        self.marker = setting("marker", "text", "").encode()
        self.users = dict(_user(entry) for entry in setting("users", "texts", []))
        self.drill = setting("drill", "boolean", False)


def _user(entry):
    name, _, password = entry.partition(":")
    if not name or not password:
        raise ValueError(f'`users`: "{entry}" is not NAME:PASSWORD')
    return name, password


rules = None


@pillarbox.lifecycle
class Lifecycle(exports.Lifecycle):
    def init(self):
        global rules
        rules = Rules()
        declare.keyword(VERB, None)
        declare.verb(VERB, declare.Rule(before_hello=False, in_transaction=False, only_tls=False, last_in_group=False))
        # A hook without work is not asked, and its grant need not be given.
        if rules.users:
            declare.mechanism(MECHANISM)
        else:
            declare.without(declare.Hook.VERIFY)
            declare.without(declare.Hook.AUTHENTICATE)


@pillarbox.hook
class Connect(exports.Connect):
    def connect(self):
        address = session.client().endpoint.address
        info(f"connect from {address} to {session.listener()}")
        if address in rules.clients:
            return reject(reply(554, "5.7.1", "no mail from this address"))
        return go_on()


@pillarbox.hook
class Hello(exports.Hello):
    def hello(self, verb, domain):
        info(f"{verb} {domain}")
        if domain.lower() in rules.names:
            return reject(reply(550, "5.7.1", "no mail from this name"))
        # The keyword says how often this session was refused, and is not there for those the operator lets by.
        if _bypassed():
            advertise.hide(VERB)
        else:
            advertise.show(VERB, f"REFUSED={_refusals()}")
        return go_on()


@pillarbox.hook
class Command(exports.Command):
    """XPOLICY asks two questions, each with a 3xx, and says what would become of an address. What was answered goes along
    in the state: the next line may find another instance."""

    def begin(self, verb, argument):
        if argument:
            return command.Answer_Done(reply(501, "5.5.4", f"{verb} takes no argument"))
        return _question("sender or recipient?", {})

    def resume(self, state, line):
        role = json.loads(state).get("role")
        said = line.decode(errors="replace").strip().lower()
        if role is None:
            return _question("which address?", {"role": said})
        fate = "refused" if said in rules.addresses else "taken"
        return command.Answer_Done(reply(250, "2.0.0", f"as {LANGUAGE} sees it, this {role} is {fate}"))


def _question(words, known):
    return command.Answer_More(command.Pending(reply(354, None, words), json.dumps(known).encode()))


@pillarbox.hook
class Authenticate(exports.Authenticate):
    """A mechanism of its own: the name, then the password, each behind a challenge."""

    def begin(self, mechanism, initial):
        info(f"asked for {mechanism}")
        return _challenge("name?", {}) if initial is None else _named(initial)

    def resume(self, state, response):
        name = json.loads(state).get("name")
        if name is None:
            return _named(response)
        if not _matches(name, response):
            return authenticate.Step_Failure(None)
        return authenticate.Step_Success(authenticate.Success(name, None))


def _named(name):
    return _challenge("password?", {"name": name.decode(errors="replace")})


def _challenge(words, known):
    return authenticate.Step_Challenge(authenticate.Pending(words.encode(), json.dumps(known).encode()))


@pillarbox.hook
class Verify(exports.Verify):
    def password(self, user, password, authorization):
        info("asked for a password")
        return verify.Outcome_Yes(user) if _matches(user, password.encode()) else verify.Outcome_No()

    def lookup(self, user):
        """These users have no SCRAM verifier."""
        info("asked for a verifier")
        return verify.Outcome_No()


def _matches(name, password):
    """An unknown user takes as long as a wrong password. What is said is never logged."""
    right = rules.users.get(name, "").encode()
    return hmac.compare_digest(right, password) and right != b""


@pillarbox.hook
class Mail(exports.Mail):
    def mail(self, sender, parameters):
        given = " ".join(f"{parameter.name}={parameter.value or ''}" for parameter in parameters)
        info(f"MAIL <{sender}> {given}")
        return _judge(sender, "sender refused")


@pillarbox.hook
class Recipient(exports.Recipient):
    def recipient(self, address, parameters):
        if rules.drill:
            _fail(address)
        info(f"RCPT <{address}> after {len(envelope_read.recipients())}")
        return _judge(address, "recipient refused")


def _judge(address, words):
    if _bypassed() or address.lower() not in rules.addresses:
        return go_on()
    state.set(Scope.CONNECTION, "refusals", str(_refusals() + 1).encode())
    return reject(reply(550, "5.7.1", f"{words} ({LANGUAGE})"))


def _fail(address):
    """With `drill = true` it fails on purpose, for who wants to see what a failure does."""
    if address.startswith("throw@"):
        raise RuntimeError(f"a drill for {address}")
    while address.startswith("loop@"):
        pass


@pillarbox.hook
class Data(exports.Data):
    def data(self):
        count = len(envelope_read.recipients())
        info(f"DATA from <{envelope_read.sender()}> for {count}")
        if count > rules.most:
            return pillarbox.tempfail(reply(452, "4.5.3", "too many recipients"))
        return go_on()


@pillarbox.hook
class Message(exports.Message):
    def message(self):
        names = " ".join(header.name for header in message_read.headers())
        info(f"message of {message_read.size()} octets with {names}")
        for subject in message_read.header_values("Subject")[:1]:
            words = " ".join(subject.decode(errors="replace").split())
            context_write.set(Scope.MESSAGE, "policy_subject", words[:200])
        context_write.set(Scope.MESSAGE, "policy_language", LANGUAGE)
        body = message_read.body_offset()
        found = message_read.find(rules.marker, body) if rules.marker else None
        if found is not None:
            line = message_read.read(found, 40).decode(errors="replace").splitlines()[0]
            info(f"refused for: {line}")
            return reject(reply(550, "5.7.1", f"message refused ({LANGUAGE})"))
        return go_on()


@pillarbox.hook
class Accepted(exports.Accepted):
    def accepted(self, id):
        subject = context_read.get(Scope.MESSAGE, "policy_subject") or "no subject"
        info(f"accepted {id} for {' '.join(envelope_read.recipients())}: {subject}")


@pillarbox.hook
class Disconnect(exports.Disconnect):
    def disconnect(self):
        info(f"{_refusals()} addresses refused in this session")


def _refusals():
    """How often this session was refused. A global would forget: instances come and go in a session."""
    return int(state.get(Scope.CONNECTION, "refusals") or b"0")


def _bypassed():
    """The operator can switch the policy off for a network, by `context = { policy_bypass = "true" }` in a peer block."""
    return context_read.get(Scope.CONNECTION, "policy_bypass") == "true"
