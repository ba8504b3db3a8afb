// What an extension in JavaScript begins with: hooks whose errors are logged, and short words for what they answer.
//
// Copy it beside your own source. It imports `log` and `settings`, which need no grant.

import { log } from 'pillarbox:extension/log@0.1.0';
import * as settings from 'pillarbox:extension/settings@0.1.0';

export const info = (text) => log('info', text);
export const warn = (text) => log('warn', text);

/**
 * The functions of a hook. What one of them throws is logged, and then fails the call: thrown past the host it would be a
 * trap without a word.
 */
export function hook(functions) {
    const logged = ([name, call]) => [
        name,
        (...given) => {
            try {
                return call(...given);
            } catch (error) {
                log('error', described(error));
                throw error;
            }
        },
    ];
    return Object.fromEntries(Object.entries(functions).map(logged));
}

/** `init`. What it throws is the sentence the operator reads, and refuses the load. */
export function lifecycle(init) {
    return {
        init() {
            try {
                init();
            } catch (error) {
                // A text, and no `Error`, is the `err` of the interface.
                throw typeof error === 'string' ? error : described(error);
            }
        },
    };
}

/** An error in words; what a host function throws carries a `payload` with the case of `types.error`. */
export function described(error) {
    const { tag, val } = error?.payload ?? {};
    if (tag !== undefined) return val === undefined ? tag : `${tag}: ${val}`;
    return error instanceof Error ? `${error.name}: ${error.message}\n${error.stack}` : String(error);
}

/** A setting, or `otherwise` when it was not written; it must be of this kind: text, integer, float, boolean or texts. */
export function setting(name, kind, otherwise) {
    const value = settings.get(name);
    if (value === undefined || value === null) return otherwise;
    if (value.tag !== kind) throw `\`${name}\` must be ${kind}`;
    return value.val;
}

/** Refuses settings of other names, so that a typing error is seen. */
export function onlySettings(...known) {
    const unknown = settings.names().find((name) => !known.includes(name));
    if (unknown !== undefined) throw `there is no setting \`${unknown}\``;
}

/** A reply; `enhanced` is undefined where there is none (3xx). */
export const reply = (code, enhanced, ...text) => ({ code, enhanced, text });

// What a hook decides. Each may carry a delay: `{ ...next(), delayMs: 500 }`.
const decision = (tag, val) => ({ verdict: { tag, val }, delayMs: 0 });
export const next = () => decision('next');
export const accept = () => decision('accept');
export const tempfail = (reply) => decision('tempfail', reply);
export const reject = (reply) => decision('reject', reply);
export const disconnect = (reply) => decision('disconnect', reply);
export const discard = () => decision('discard');
export const quarantine = (reason) => decision('quarantine', reason);

/** Octets of a text, and the text of octets. */
export const octets = (text) => new TextEncoder().encode(text);
export const text = (octets) => new TextDecoder().decode(octets);
