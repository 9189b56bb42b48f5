//! What `nestc train` accepts.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::args::{Levels, learning_rate, levels};
use crate::data::DataSpec;
use crate::detect::Head;
use crate::train::{
    Allocation, LevelWeights, Loss, Method, Pruning, RateShape, Recipe, Routing, Schedule, Source,
    TrainOptions,
};

/// The training objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LossArg {
    /// Labels where there are any, and the pretrained network's outputs.
    Auto,
    /// Cross-entropy against the labels.
    Labels,
    /// Distillation: the pretrained network's outputs only; needs no labels.
    Distill,
}

impl From<LossArg> for Loss {
    fn from(loss: LossArg) -> Self {
        match loss {
            LossArg::Auto => Loss::Auto,
            LossArg::Labels => Loss::Labels,
            LossArg::Distill => Loss::Distill,
        }
    }
}

/// Sets of options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RecipeArg {
    /// What did best in nestc's own study (docs/study.md).
    Default,
    /// The plain variant: blocks of 1x2 cut once, masked gradients, in-place distillation.
    Paper,
}

/// What a level leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MethodArg {
    /// Single weights, or blocks of them.
    Nested,
    /// Whole channels; --levels are then the shares of multiply-accumulates that levels leave out.
    Width,
}

/// How sparsity is spread over the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AllocationArg {
    /// One ranking by magnitude over all layers.
    Global,
    /// The same sparsity in every layer.
    Uniform,
    /// One ranking by squared magnitude per multiply-accumulate; --levels are then the shares of
    /// multiply-accumulates that levels leave out.
    Macs,
}

/// When weights are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PruningArg {
    /// Along a cubic ramp.
    Gradual,
    /// All before the first step.
    OneShot,
}

/// Whose outputs levels learn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SourceArg {
    /// The pretrained network's.
    Given,
    /// The densest level's, as they are in the step.
    InPlace,
    /// The densest level the pretrained network's, the others the densest level's.
    Chain,
}

/// `nestc train`.
#[derive(Debug, Args)]
#[command(
    after_help = "Each epoch ends in a checkpoint beside the output. A run that was interrupted, by Ctrl-C, kill or\na power cut, goes on from it with --resume and ends in the same bits.\n\nExample:\n  nestc train net.onnx --data cifar10:data/cifar10,mean=125.3/123.0/113.9,std=63.0/62.1/66.7 \\\n      --levels 90,80,50 --epochs 10 -o net.nest.onnx\n  nestc train net.onnx --data folder:pictures --loss distill -o net.nest.onnx\n  nestc train net.onnx --data cifar10:data/cifar10 --recipe paper --epochs 30 -o paper.nest.onnx\n  nestc train net.onnx --data cifar10:data/cifar10 --epochs 0 --recalibrate -o dynamic.nest.onnx"
)]
pub struct TrainArgs {
    /// The pretrained ONNX file.
    pub model: PathBuf,
    /// Training images: kind:path[,key=value…].
    #[arg(long, value_name = "SPEC")]
    pub data: DataSpec,
    /// Sparsities in percent, in any order; 0 is the dense network.
    #[arg(long, value_name = "LIST", default_value = "90,80,50", allow_negative_numbers = true, value_parser = levels)]
    pub levels: Levels,
    /// Passes over the training images; 0 only prunes, for use with --recalibrate.
    #[arg(long, value_name = "N", default_value_t = 10, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub epochs: u32,
    /// What to train against. Networks that are no classifiers learn the pretrained network's raw
    /// outputs.
    #[arg(long, value_enum, default_value_t = LossArg::Auto)]
    pub loss: LossArg,
    /// The learning rate at its peak (default: 0.05, less for runs of few steps).
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = learning_rate)]
    pub lr: Option<f32>,
    /// Images of one step.
    #[arg(long, value_name = "N", default_value_t = 128, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub batch: u32,
    /// The seed of everything drawn by chance; one seed gives the same bits with any threads.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Threads (default: all cores).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// What a detection network's outputs mean, to be kept in the model: fastestdet, ultraface, ssd
    /// or yolo, with [,key=value…].
    #[arg(long, value_name = "HEAD")]
    pub head: Option<Head>,
    /// Go on from the checkpoint of an interrupted run with the same options.
    #[arg(long)]
    pub resume: bool,
    /// The nested model to write, by convention `NAME.nest.onnx`.
    #[arg(short, long, value_name = "OUT.nest.onnx")]
    pub output: PathBuf,
    /// Hold this many training images out for the accuracies of every epoch; the test images are
    /// then read once, at the end. Example: --validation-split 5000
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub validation_split: u32,
    /// Write a line of JSON an epoch to this file. Example: --log run.jsonl
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Write a page with the curves of the run, for a browser. Example: --report run.html
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Measure the statistics of batch normalisation anew at the end, over 32 batches or as many as
    /// are given. Example: --recalibrate=64
    #[arg(long, value_name = "BATCHES", num_args = 0..=1, require_equals = true, default_missing_value = "32", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub recalibrate: Option<u32>,
    #[command(flatten)]
    pub fine: FineArgs,
}

/// Everything that a recipe sets.
#[derive(Debug, Args)]
#[command(next_help_heading = "Recipe")]
pub struct FineArgs {
    /// What the options below are unless given. Example: --recipe paper
    #[arg(long, value_enum, default_value_t = RecipeArg::Default)]
    pub recipe: RecipeArg,
    /// What levels leave out. Example: --method width --levels 75,50,0
    #[arg(long, value_enum)]
    pub method: Option<MethodArg>,
    /// How sparsity is spread over the layers. Example: --allocation macs --levels 85,70,40
    #[arg(long, value_enum)]
    pub allocation: Option<AllocationArg>,
    /// Neighbouring input channels of one tap that are cut together. Example: --block 4, for
    /// firmware with 1x4 blocks
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub block: Option<u32>,
    /// When weights are cut. Example: --pruning one-shot
    #[arg(long, value_enum)]
    pub pruning: Option<PruningArg>,
    /// Share of the run after which levels are as sparse as asked. Example: --ramp-end 0.7
    #[arg(long, value_name = "SHARE")]
    pub ramp_end: Option<f64>,
    /// Steps between rankings of the weights. Example: --rank-every 20
    #[arg(long, value_name = "STEPS")]
    pub rank_every: Option<u32>,
    /// How gradients of several levels meet in a shared weight: owner-mean, sum, hard or soft:SHARE.
    /// Example: --routing soft:0.3
    #[arg(long, value_name = "RULE", value_parser = routing)]
    pub routing: Option<Routing>,
    /// How much each level's loss counts, sparsest first: at the start and, behind a colon, at the
    /// end. Example: --level-weights 1,1,2:4,2,1
    #[arg(long, value_name = "LIST[:LIST]", value_parser = level_weights)]
    pub level_weights: Option<LevelWeights>,
    /// Which levels a step trains: all; sandwich[:K], the sparsest, the densest and K drawn ones
    /// between; late[:K], as sandwich while masks change and all afterwards. Example: --schedule
    /// sandwich:1
    #[arg(long, value_name = "RULE", value_parser = schedule)]
    pub schedule: Option<Schedule>,
    /// Whose outputs levels learn from. Example: --distill-from in-place
    #[arg(long, value_enum)]
    pub distill_from: Option<SourceArg>,
    /// Share of distillation in the loss where there are labels. Example: --distill-share 0.5
    #[arg(long, value_name = "SHARE")]
    pub distill_share: Option<f64>,
    /// Softens outputs in distillation. Example: --temperature 4
    #[arg(long, value_name = "X")]
    pub temperature: Option<f64>,
    /// Share of a label spread over all classes. Example: --label-smoothing 0.1
    #[arg(long, value_name = "SHARE")]
    pub label_smoothing: Option<f64>,
    /// Last epochs in which a level moves only the weights it adds. Example: --own-epochs 2
    #[arg(long, value_name = "N")]
    pub own_epochs: Option<u32>,
    /// Last epochs in which weights and activations are rounded as int8 rounds them. Example: --qat 3
    #[arg(long, value_name = "EPOCHS")]
    pub qat: Option<u32>,
    /// The learning rate's course: cosine, linear or hold:SHARE (at its peak for that share of the
    /// run). Example: --rate hold:0.5
    #[arg(long, value_name = "SHAPE", value_parser = rate)]
    pub rate: Option<RateShape>,
    /// Epochs over which the learning rate rises. Example: --warmup 2
    #[arg(long, value_name = "EPOCHS")]
    pub warmup: Option<f64>,
    /// Weight decay. Example: --weight-decay 1e-4
    #[arg(long, value_name = "X")]
    pub weight_decay: Option<f32>,
    /// The model is the running average of all parameters with this decay a step. Example: --average
    /// 0.999
    #[arg(long, value_name = "DECAY")]
    pub average: Option<f64>,
    /// Do not mirror pictures (digits, writing).
    #[arg(long)]
    pub no_flip: bool,
    /// Share of their extent that pictures are shifted by at most, at random. Example: --shift 0 for
    /// digits that are centred
    #[arg(long, value_name = "SHARE")]
    pub shift: Option<f64>,
}

impl TrainArgs {
    /// The options asked for, with this checkpoint.
    pub fn options(&self, checkpoint: PathBuf) -> TrainOptions {
        let mut o = TrainOptions {
            levels: self.levels.0.clone(),
            epochs: self.epochs as usize,
            loss: self.loss.into(),
            learning_rate: self.lr,
            batch: self.batch as usize,
            seed: self.seed,
            threads: self.threads.map(|n| n as usize),
            resume: self.resume,
            checkpoint,
            validation_split: self.validation_split as usize,
            log: self.log.clone(),
            ..TrainOptions::recipe(self.fine.recipe())
        };
        if let Some(batches) = self.recalibrate {
            o.recalibrate = true;
            o.recalibration_batches = batches as usize;
        }
        self.fine.apply(&mut o);
        o
    }
}

impl FineArgs {
    /// The recipe that the options begin with.
    pub fn recipe(&self) -> Recipe {
        match self.recipe {
            RecipeArg::Default => Recipe::Default,
            RecipeArg::Paper => Recipe::Paper,
        }
    }

    /// Overrules what the recipe says.
    pub fn apply(&self, o: &mut TrainOptions) {
        fn set<T: Clone>(to: &mut T, from: &Option<T>) {
            if let Some(value) = from {
                to.clone_from(value);
            }
        }
        set(
            &mut o.method,
            &self.method.map(|m| match m {
                MethodArg::Nested => Method::Nested,
                MethodArg::Width => Method::Width,
            }),
        );
        set(
            &mut o.allocation,
            &self.allocation.map(|a| match a {
                AllocationArg::Global => Allocation::Global,
                AllocationArg::Uniform => Allocation::Uniform,
                AllocationArg::Macs => Allocation::Macs,
            }),
        );
        set(&mut o.block, &self.block.map(|n| n as usize));
        set(
            &mut o.pruning,
            &self.pruning.map(|p| match p {
                PruningArg::Gradual => Pruning::default(),
                PruningArg::OneShot => Pruning::OneShot,
            }),
        );
        if let Pruning::Gradual { end, every } = &mut o.pruning {
            set(end, &self.ramp_end);
            set(every, &self.rank_every.map(|n| n as usize));
        }
        set(&mut o.routing, &self.routing);
        if self.level_weights.is_some() {
            o.level_weights.clone_from(&self.level_weights);
        }
        set(&mut o.schedule, &self.schedule);
        set(
            &mut o.distillation.from,
            &self.distill_from.map(|s| match s {
                SourceArg::Given => Source::Given,
                SourceArg::InPlace => Source::InPlace,
                SourceArg::Chain => Source::Chain,
            }),
        );
        if self.distill_share.is_some() {
            o.distillation.share = self.distill_share;
        }
        set(&mut o.distillation.temperature, &self.temperature);
        set(&mut o.label_smoothing, &self.label_smoothing);
        set(&mut o.own_epochs, &self.own_epochs.map(|n| n as usize));
        set(&mut o.qat_epochs, &self.qat.map(|n| n as usize));
        set(&mut o.rate, &self.rate);
        set(&mut o.warmup, &self.warmup);
        set(&mut o.weight_decay, &self.weight_decay);
        if self.average.is_some() {
            o.average = self.average;
        }
        o.flip &= !self.no_flip;
        set(&mut o.shift, &self.shift);
    }
}

/// `NAME` or `NAME:ARGUMENT`.
fn named<T: std::str::FromStr>(text: &str) -> Result<(&str, Option<T>), String> {
    let Some((name, argument)) = text.split_once(':') else {
        return Ok((text, None));
    };
    let number = argument.parse();
    let number = number.map_err(|_| format!("`{argument}` is not a number that {name} takes"))?;
    Ok((name, Some(number)))
}

fn routing(text: &str) -> Result<Routing, String> {
    match named(text)? {
        ("owner-mean", None) => Ok(Routing::OwnerMean),
        ("sum", None) => Ok(Routing::Sum),
        ("hard", None) => Ok(Routing::Hard),
        ("soft", Some(share)) => Ok(Routing::Soft(share)),
        _ => Err("give owner-mean, sum, hard or soft:SHARE, for example soft:0.3".into()),
    }
}

fn schedule(text: &str) -> Result<Schedule, String> {
    match named(text)? {
        ("all", None) => Ok(Schedule::All),
        ("sandwich", count) => Ok(Schedule::Sandwich(count.unwrap_or(1))),
        ("late", count) => Ok(Schedule::Late(count.unwrap_or(1))),
        _ => Err("give all, sandwich[:K] or late[:K], for example sandwich:1".into()),
    }
}

fn rate(text: &str) -> Result<RateShape, String> {
    match named(text)? {
        ("cosine", None) => Ok(RateShape::Cosine),
        ("linear", None) => Ok(RateShape::Linear),
        ("hold", Some(share)) => Ok(RateShape::Hold(share)),
        _ => Err("give cosine, linear or hold:SHARE, for example hold:0.5".into()),
    }
}

fn level_weights(text: &str) -> Result<LevelWeights, String> {
    let list = |text: &str| -> Result<Vec<f64>, String> {
        let number = |part: &str| {
            let bad = || format!("`{part}` is not a number; give for example 1,1,2:4,2,1");
            part.trim().parse::<f64>().map_err(|_| bad())
        };
        text.split(',').map(number).collect()
    };
    let (start, end) = text
        .split_once(':')
        .map_or((text, None), |(s, e)| (s, Some(e)));
    Ok(LevelWeights {
        start: list(start)?,
        end: end.map(list).transpose()?.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Cli, Verb};
    use crate::train::Distillation;
    use clap::{CommandFactory, Parser};

    fn options(flags: &[&str]) -> TrainOptions {
        let line = ["nestc", "train", "m.onnx", "--data", "cifar10:d", "-o", "o"];
        match Cli::try_parse_from(line.iter().chain(flags)).map(|cli| cli.verb) {
            Ok(Verb::Train(train)) => train.options(TrainOptions::default().checkpoint),
            other => panic!("{flags:?}: {other:?}"),
        }
    }

    #[test]
    fn defaults_are_those_of_the_library() {
        assert_eq!(options(&[]), TrainOptions::default());
        let paper = options(&["--recipe", "paper"]);
        assert_eq!(paper, TrainOptions::recipe(Recipe::Paper));
        assert_ne!(paper, TrainOptions::default());
    }

    #[test]
    fn every_flag_overrules_the_recipe() {
        #[rustfmt::skip]
        let given = options(&[
            "--recipe", "paper", "--method", "width", "--allocation", "macs", "--block", "4",
            "--pruning", "gradual", "--ramp-end", "0.7", "--rank-every", "20",
            "--routing", "soft:0.25", "--level-weights", "1,1,2:4,2,1", "--schedule", "late:2",
            "--distill-from", "chain", "--distill-share", "0.4", "--temperature", "3",
            "--label-smoothing", "0.1", "--own-epochs", "2", "--qat", "3", "--rate", "hold:0.6",
            "--warmup", "1.5", "--weight-decay", "1e-4", "--average", "0.999", "--no-flip",
            "--shift", "0.0625",
            "--recalibrate=64", "--validation-split", "500", "--log", "run.jsonl",
            "--epochs", "0",
        ]);
        let expected = TrainOptions {
            method: Method::Width,
            allocation: Allocation::Macs,
            block: 4,
            pruning: Pruning::Gradual {
                end: 0.7,
                every: 20,
            },
            routing: Routing::Soft(0.25),
            level_weights: Some(LevelWeights {
                start: vec![1.0, 1.0, 2.0],
                end: vec![4.0, 2.0, 1.0],
            }),
            schedule: Schedule::Late(2),
            distillation: Distillation {
                from: Source::Chain,
                share: Some(0.4),
                temperature: 3.0,
            },
            label_smoothing: 0.1,
            own_epochs: 2,
            qat_epochs: 3,
            rate: RateShape::Hold(0.6),
            warmup: 1.5,
            weight_decay: 1e-4,
            average: Some(0.999),
            flip: false,
            shift: 0.0625,
            recalibrate: true,
            recalibration_batches: 64,
            validation_split: 500,
            log: Some("run.jsonl".into()),
            epochs: 0,
            ..TrainOptions::default()
        };
        assert_eq!(given, expected);
        assert_eq!(options(&["--recalibrate"]).recalibration_batches, 32);
        assert_eq!(
            options(&["--schedule", "sandwich"]).schedule,
            Schedule::Sandwich(1)
        );
    }

    #[test]
    fn rules_that_are_none_are_refused() {
        for bad in ["", "soft", "soft:x", "hard:1", "mean", "sum:"] {
            assert!(routing(bad).is_err(), "{bad}");
        }
        for bad in ["sandwich:-1", "all:2", "late:x", "one"] {
            assert!(schedule(bad).is_err(), "{bad}");
        }
        for bad in ["hold", "cosine:1", "hold:", "step"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
        for bad in ["", "1,", "1:", "1,2:x"] {
            assert!(level_weights(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_flag_of_the_recipe_shows_an_example() {
        let cli = Cli::command();
        let train = cli.find_subcommand("train").unwrap();
        let recipe = (train.get_arguments())
            .filter(|a| a.get_help_heading() == Some("Recipe") && a.get_id() != "no_flip");
        let mut count = 0;
        for flag in recipe {
            let help = flag.get_help().unwrap().to_string();
            let example = format!("--{}", flag.get_long().unwrap());
            assert!(
                help.contains("Example: ") && help.contains(&example),
                "{help}"
            );
            count += 1;
        }
        assert_ne!(count, 0);
    }
}
