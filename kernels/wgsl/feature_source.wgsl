// Where an EAGLE draft's row finds its feature: a slot of the target's features or, with OWN set, of the drafter's own (OWN_FEATURE in
// ops/eagle.ts).
const OWN = 0x80000000u;
