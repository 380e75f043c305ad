// SPDX-License-Identifier: Apache-2.0
//
// A small seeded generator of random numbers: one stream per case, so that
// each case can be made again from its seed and number alone.

export class Random {
  constructor(seed, stream = 0) {
    this.state = (Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^
      Math.imul(stream + 0x7f4a7c15, 0xc2b2ae35)) >>> 0;
    for (let i = 0; i < 4; i++) this.next();
  }
  next() { // mulberry32
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }
  below(n) { return this.next() % n; }
  chance(p) { return this.next() / 4294967296 < p; }
  pick(list) { return list[this.below(list.length)]; }
  range(low, high) { return low + this.below(high - low + 1); }
  sample(list, count) {
    const rest = [...list];
    const out = [];
    while (out.length < count && rest.length > 0)
      out.push(rest.splice(this.below(rest.length), 1)[0]);
    return out;
  }
  weighted(pairs) {
    let total = 0;
    for (const [weight] of pairs) total += weight;
    let at = (this.next() / 4294967296) * total;
    for (const [weight, value] of pairs) {
      at -= weight;
      if (at < 0) return value;
    }
    return pairs[pairs.length - 1][1];
  }
}
