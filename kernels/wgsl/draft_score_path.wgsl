// Candidates of a dynamic tree are ranked by the estimated probability that the walk gets to them.
fn score_of(parent_score: f32, log_survival: f32, rank: u32) -> f32 { return parent_score + log_survival; }

fn is_inner(score: f32) -> bool { return true; }
