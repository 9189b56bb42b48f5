//! Sparse storage in blocks of four input channels: see [`nest_format::BlockStream`].

use nest_kernels::{Kernel, block_tiles_within, conv_block_scratch_words};

use crate::ir::program::{EncodedBlocks, Payload};

use super::conv::ConvLayer;
use super::nested::over_all_channels;
use super::step::Chosen;

/// Words of scratch that a layer takes by default: where the weights stay in a data cache of 16 KiB,
/// and where they do not and each pass fetches them anew.
const SCRATCH_WORDS: [usize; 2] = [2816, 6144];

/// Bytes of weights above which passes should be few.
const CACHED_BYTES: usize = 12 << 10;

/// A convolution whose input channels come in fours; of several groups, the other groups' weights are
/// zeros.
///
/// # Errors
/// Extents and counts beyond 16 bits.
pub(super) fn conv(conv: &ConvLayer<'_>) -> Result<Chosen, String> {
    let op = conv.op;
    let geometry = conv.geometry()?;
    let columns = usize::from(conv.columns()?);
    let (weights, level_of) = over_all_channels(op, conv.x.c);
    let blocks = encode_blocks(
        op.out_channels,
        columns,
        conv.levels,
        &weights,
        level_of.as_deref(),
    )?;
    let few = 5 * blocks.words.len() > CACHED_BYTES;
    let pass_tiles = block_tiles_within(&geometry, SCRATCH_WORDS[usize::from(few)]);
    let nonzero = weights.iter().filter(|&&w| w != 0).count() as u64;
    let all = 5 * blocks.words.len() as u64 + 2 * blocks.prefix.len() as u64;
    Ok(Chosen {
        scratch_words: conv_block_scratch_words(&geometry, pass_tiles),
        weight_bytes: nonzero,
        index_bytes: all - nonzero,
        ..Chosen::plain(
            "conv2d",
            Kernel::ConvBlock,
            Payload::ConvBlock {
                geometry,
                blocks,
                requant: op.requant.clone(),
                pad: conv.pad.clone(),
                pass_tiles,
            },
        )
    })
}

/// Encodes `rows x columns` weights in blocks of 4 columns; the arguments are those of
/// [`super::encode_stream`]. A block whose weights belong to several levels is stored at each of them,
/// with zeros for the other levels' weights.
///
/// # Errors
/// If rows, columns or a row's blocks exceed 16 bits.
///
/// # Panics
/// If the slices do not hold `rows * columns` elements, or columns do not come in fours.
pub fn encode_blocks(
    rows: usize,
    columns: usize,
    levels: usize,
    weights: &[i8],
    level_of: Option<&[u8]>,
) -> Result<EncodedBlocks, String> {
    assert_eq!(weights.len(), rows * columns, "weights");
    assert!(level_of.is_none_or(|l| l.len() == weights.len()), "levels");
    assert!(columns.is_multiple_of(4), "blocks of 4 columns");
    let narrow = |n: usize, what: &str| {
        u16::try_from(n).map_err(|_| format!("{n} {what}, and kernels count up to 65535"))
    };
    let (mut words, mut steps) = (Vec::new(), Vec::new());
    let mut prefix = vec![0u16; rows * levels];
    for row in 0..rows {
        let start = words.len();
        let mut position = 0i32;
        for level in 0..levels {
            for block in 0..columns / 4 {
                let bytes: [u8; 4] = std::array::from_fn(|i| {
                    let at = row * columns + 4 * block + i;
                    let of = level_of.map_or(0, |l| usize::from(l[at]));
                    if of == level { weights[at] as u8 } else { 0 }
                });
                if bytes == [0; 4] {
                    continue;
                }
                let mut way = block as i32 - position;
                while i8::try_from(way).is_err() {
                    let step = way.clamp(i8::MIN.into(), i8::MAX.into());
                    steps.push(step as i8);
                    words.push(0);
                    way -= step;
                }
                steps.push(way as i8);
                words.push(u32::from_le_bytes(bytes));
                position = block as i32;
            }
            prefix[level * rows + row] = narrow(words.len() - start, "blocks in a row")?;
        }
    }
    Ok(EncodedBlocks {
        rows: narrow(rows, "rows of weights")?,
        columns: narrow(columns, "columns of weights")?,
        levels: u8::try_from(levels).map_err(|_| format!("{levels} levels"))?,
        words,
        steps,
        prefix,
    })
}
