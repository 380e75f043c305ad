// SPDX-License-Identifier: Apache-2.0
//
// Differences that were found once, by name; each is a line of the protocol.

export const regressions = {
};
