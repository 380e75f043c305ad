// SPDX-License-Identifier: Apache-2.0
//
// Differences that were found once, by name; each is a line of the protocol.

export const regressions = {
  // An attribute that a later one of its name replaces is not looked up.
  'replaced attribute of an unknown type': { line: {
    policies: '', schema: 'entity A { a: Nope, a?: Bool };', validate: true } },
};
