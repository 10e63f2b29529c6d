// A node that a head proposes below another one.
struct Child {
  // NO_TOKEN where there is no such candidate.
  token: u32,
  // Log of the estimated probability that it is accepted, given that its parent is; at most 0.
  log_survival: f32,
  // Its place among its head's candidates, as the head sees them.
  rank: u32,
}
