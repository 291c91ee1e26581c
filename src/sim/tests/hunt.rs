//! Hunting for seeds that fail.

use super::super::*;
#[path = "../../cli/sim.rs"]
mod cli;
#[test]
fn hunt() {
    let get = |k: &str, d: &str| std::env::var(k).unwrap_or(d.into());
    let seeds: u64 = get("SEEDS", "0").parse().unwrap();
    let first: u64 = get("SEED", "0").parse().unwrap();
    let which = get("SCEN", "all");
    let all: Vec<Scenario> = if which == "all" { Scenario::ALL.to_vec() } else { vec![which.parse().unwrap()] };
    if std::env::var("TRACE").is_ok() {
        let (r, lines) = run_traced(all[0], first);
        for l in lines {
            println!("{l}");
        }
        println!("{r:?}");
        return;
    }
    for s in all {
        let t = std::time::Instant::now();
        let (mut steps, mut fails, mut alike) = (0, 0, 0.0f64);
        for seed in first..first + seeds {
            let r = run(s, seed);
            if r.alike_seconds.unwrap_or(0.0) > 15.0 {
                println!("slow {} {} {:?}", s.name(), seed, r.alike_seconds);
            }
            steps += r.steps;
            alike = alike.max(r.alike_seconds.unwrap_or(0.0));
            if let Some(f) = r.failure {
                fails += 1;
                println!(
                    "FAIL {} {} {:?} at {:.3}: {}",
                    s.name(),
                    seed,
                    f.judge,
                    f.at_us as f64 / 1e6,
                    &f.detail.chars().take(900).collect::<String>()
                );
            }
        }
        println!(
            "{:<14} seeds {seeds} fails {fails} steps {steps} alike<= {alike:.1} s, wall {:.1} s",
            s.name(),
            t.elapsed().as_secs_f64()
        );
    }
}
