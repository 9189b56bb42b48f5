//! What `nestc study` accepts.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::args::{Levels, learning_rate, levels};
use super::train_args::{FineArgs, LossArg};
use crate::data::DataSpec;
use crate::study::{Approach, Run};

/// `nestc study`.
#[derive(Debug, Args)]
#[command(
    after_help = "Methods:\n  nested      all levels trained together\n  separate    a sparse model for each level\n  dynamic     the dense network pruned at run time, nothing trained\n  width       a slimmable network: levels of fewer channels\n  and, as nested but for one rule: nested-sum, nested-hard, nested-soft, nested-one-shot,\n  nested-uniform, nested-macs, nested-in-place, nested-labels, nested-all,\n  nested-even, nested-recalibrated, paper\n\nA study is a folder: what is done is kept, so the same command goes on where it was stopped. Parts\nmade with --only on other machines are files to be copied into it.\n\nExample:\n  nestc study net.onnx --data cifar10:data/cifar10 --levels 95,90,80,50,0 --epochs 30 \\\n      --seeds 1,2,3 --methods nested,separate,dynamic,width -o study"
)]
pub struct StudyArgs {
    /// The pretrained ONNX file.
    pub model: PathBuf,
    /// Training images: kind:path[,key=value…]. Accuracies are measured on the test images that
    /// belong to them.
    #[arg(long, value_name = "SPEC")]
    pub data: DataSpec,
    /// Sparsities in percent, in any order; 0 is the dense network.
    #[arg(long, value_name = "LIST", default_value = "95,90,80,50,0", allow_negative_numbers = true, value_parser = levels)]
    pub levels: Levels,
    /// Passes over the training images, in each run.
    #[arg(long, value_name = "N", default_value_t = 30, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub epochs: u32,
    /// Seeds; every method is trained once with each.
    #[arg(long, value_name = "LIST", default_value = "1,2,3", value_parser = seeds)]
    pub seeds: Seeds,
    /// What to compare.
    #[arg(long, value_name = "LIST", default_value = "nested,separate,dynamic,width", value_parser = methods)]
    pub methods: Methods,
    /// The board (see `nestc targets`).
    #[arg(long, value_name = "BOARD", default_value = "stm32h743")]
    pub target: String,
    /// Train and measure only this method, or only its runs with this seed, and make no tables; may
    /// be given more than once.
    #[arg(long, value_name = "METHOD[:SEED]")]
    pub only: Vec<Only>,
    /// Train only: for machines without the board's Rust target. Measuring is left to a later call.
    #[arg(long)]
    pub no_measure: bool,
    /// Hold this many training images out and measure on them instead of the test images, which are
    /// not read then: for choosing options.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub validation_split: u32,
    /// What to train against.
    #[arg(long, value_enum, default_value_t = LossArg::Auto)]
    pub loss: LossArg,
    /// The learning rate at its peak (default: as `nestc train`).
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = learning_rate)]
    pub lr: Option<f32>,
    /// Images of one step (default: as `nestc train`).
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub batch: Option<u32>,
    /// Threads (default: all cores).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// The study's folder.
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    #[command(flatten)]
    pub fine: FineArgs,
}

/// A list without repetition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds(pub Vec<u64>);

/// A list without repetition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Methods(pub Vec<Approach>);

/// A part of a study.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Only {
    method: Approach,
    seed: Option<u64>,
}

impl Only {
    /// Whether a run belongs to it.
    pub fn includes(&self, run: &Run) -> bool {
        run.approach == self.method && self.seed.is_none_or(|seed| seed == run.seed)
    }
}

impl fmt::Display for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seed {
            Some(seed) => write!(f, "{}:{seed}", self.method),
            None => write!(f, "{}", self.method),
        }
    }
}

impl FromStr for Only {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (method, seed) = match text.split_once(':') {
            Some((method, seed)) => (method, Some(one_seed(seed)?)),
            None => (text, None),
        };
        let method = method.parse()?;
        Ok(Self { method, seed })
    }
}

fn one_seed(text: &str) -> Result<u64, String> {
    let seed = text.trim().parse();
    seed.map_err(|_| format!("`{text}` is no seed; give a whole number from 0 on"))
}

fn seeds(text: &str) -> Result<Seeds, String> {
    list(text, one_seed).map(Seeds)
}

fn methods(text: &str) -> Result<Methods, String> {
    list(text, |part| part.trim().parse()).map(Methods)
}

/// Parts between commas, each once.
fn list<T: PartialEq>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let item = parse(part)?;
        if all.contains(&item) {
            return Err(format!("{part} is given twice"));
        }
        all.push(item);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::APPROACHES;

    #[test]
    fn lists_are_read_and_nothing_stands_twice() {
        assert_eq!(seeds("1, 2,3"), Ok(Seeds(vec![1, 2, 3])));
        let both = vec![Approach::Nested, Approach::Width];
        assert_eq!(methods("nested,width"), Ok(Methods(both)));
        for bad in ["", "1,", "1,1", "-1", "x"] {
            assert!(seeds(bad).is_err(), "{bad}");
        }
        for bad in ["", "nested,", "nested,nested", "nest"] {
            assert!(methods(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_part_is_a_method_and_perhaps_a_seed() {
        let runs = |text: &str| -> Vec<String> {
            let only: Only = text.parse().unwrap();
            assert_eq!(only.to_string(), text);
            let all = [1, 2].into_iter().flat_map(|seed| {
                let of = |a: Approach| a.runs(seed, &[0.9, 0.0]);
                [of(Approach::Nested), of(Approach::Separate)].concat()
            });
            all.filter(|run| only.includes(run))
                .map(|run| run.name())
                .collect()
        };
        assert_eq!(runs("nested"), ["nested-seed1", "nested-seed2"]);
        assert_eq!(
            runs("separate:2"),
            ["separate-90-seed2", "separate-0-seed2"]
        );
        for bad in ["", "nested:", "nested:x", ":1"] {
            assert!(bad.parse::<Only>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_help_names_every_method() {
        use clap::CommandFactory;
        let help = crate::cli::args::Cli::command()
            .find_subcommand("study")
            .and_then(|study| study.get_after_help().map(ToString::to_string))
            .unwrap();
        for row in APPROACHES {
            assert!(help.contains(row.name), "{}", row.name);
        }
    }
}
