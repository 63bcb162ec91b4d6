//! Figures of a case as a table for people and as JSON for programs.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::failure::{Doing, Failure};
use crate::stats::{Summary, paired_ratio};

/// What one candidate needed per write, in nanoseconds, round by round.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) ns_per_write: Vec<f64>,
}

/// Candidates that took turns under the same conditions.
pub(crate) struct Case {
    /// What was done, such as `4k random, direct, pinned`.
    pub(crate) title: String,
    pub(crate) write_bytes: usize,
    pub(crate) series: Vec<Series>,
    /// Name of the series that the others are measured against.
    pub(crate) base: &'static str,
}

impl Case {
    fn base(&self) -> Option<&Series> {
        self.series.iter().find(|series| series.name == self.base)
    }

    /// What one candidate needed, as a multiple of what another did in the same round; no number
    /// when one of them did not run.
    pub(crate) fn paired_ratio(&self, name: &str, other: &str) -> f64 {
        let find = |name| self.series.iter().find(|series| series.name == name);
        match (find(name), find(other)) {
            (Some(own), Some(other)) => paired_ratio(&own.ns_per_write, &other.ns_per_write),
            (None, _) | (_, None) => f64::NAN,
        }
    }

    /// A table: one line per candidate.
    pub(crate) fn table(&self) -> String {
        let rounds = self.series.first().map_or(0, |series| series.ns_per_write.len());
        let mut out = format!("{} ({rounds} rounds)\n", self.title);
        let mut line = |cells: [String; 8]| {
            let [name, numbers @ ..] = cells;
            let _ = write!(out, "  {name:<10}");
            for cell in numbers {
                let _ = write!(out, " {cell:>11}");
            }
            out.push('\n');
        };
        line(
            ["", "median ns", "p10", "p90", "writes/s", "MB/s", "time ratio", "ns over"]
                .map(String::from),
        );
        for series in &self.series {
            let own = Summary::of(&series.ns_per_write);
            let ratios = self.base().map(|base| against(series, base));
            line([
                series.name.clone(),
                format!("{:.1}", own.median),
                format!("{:.1}", own.p10),
                format!("{:.1}", own.p90),
                format!("{:.0}", 1e9 / own.median),
                format!("{:.0}", self.write_bytes as f64 * 1e3 / own.median),
                ratios.as_ref().map_or("-".into(), |ratios| format!("{:.3}", ratios.of_medians)),
                ratios.as_ref().map_or("-".into(), |ratios| format!("{:.1}", ratios.ns_over)),
            ]);
        }
        out
    }

    /// The same figures, and the ratio taken round by round.
    pub(crate) fn json(&self) -> Value {
        let series = self.series.iter().map(|series| {
            let own = Summary::of(&series.ns_per_write);
            let ratios = self.base().map(|base| against(series, base));
            json!({
                "name": series.name,
                "median_ns": own.median,
                "p10_ns": own.p10,
                "p90_ns": own.p90,
                "ratio": ratios.as_ref().map(|ratios| ratios.of_medians),
                "paired_ratio": ratios.as_ref().map(|ratios| ratios.paired),
                "ns_over": ratios.as_ref().map(|ratios| ratios.ns_over),
                "rounds": series.ns_per_write.len(),
            })
        });
        json!({
            "case": self.title,
            "write_bytes": self.write_bytes,
            "base": self.base,
            "series": series.collect::<Vec<_>>(),
        })
    }
}

struct Against {
    of_medians: f64,
    paired: f64,
    ns_over: f64,
}

fn against(series: &Series, base: &Series) -> Against {
    let own = Summary::of(&series.ns_per_write).median;
    let other = Summary::of(&base.ns_per_write).median;
    Against {
        of_medians: own / other,
        paired: paired_ratio(&series.ns_per_write, &base.ns_per_write),
        ns_over: own - other,
    }
}

/// Writes `value` to a file, or to standard output when the path is `-`.
pub(crate) fn put_json(path: &Path, value: &Value) -> Result<(), Failure> {
    let text = format!("{value:#}\n");
    if path == Path::new("-") {
        print!("{text}");
        return Ok(());
    }
    std::fs::write(path, text).doing(|| format!("write the figures to {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_case_is_told_as_ratios_to_its_base() {
        let series =
            |name: &str, ns: &[f64]| Series { name: name.into(), ns_per_write: ns.to_vec() };
        let case = Case {
            title: "4k".into(),
            write_bytes: 4096,
            series: vec![
                series("floor", &[10.0, 20.0, 10.0]),
                series("naive", &[40.0, 20.0, 40.0]),
            ],
            base: "floor",
        };
        let told = case.json();
        assert_eq!(told["series"][1]["ratio"], 4.0);
        assert_eq!(told["series"][1]["ns_over"], 30.0);
        assert_eq!(case.paired_ratio("naive", "floor"), 4.0);
        assert!(case.paired_ratio("naive", "memcpy").is_nan());
        assert!(case.table().lines().last().unwrap().contains("4.000"));
    }

    #[test]
    fn a_case_without_its_base_has_no_ratios() {
        let series = vec![Series { name: "null".into(), ns_per_write: vec![5.0] }];
        let case = Case { title: "4k".into(), write_bytes: 4096, series, base: "floor" };
        assert_eq!(case.json()["series"][0]["ratio"], Value::Null);
        assert!(case.table().contains(" -"));
    }
}
