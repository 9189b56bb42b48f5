//! Random crops and flips of pictures.

use crate::data::{Dataset, Pixels};

use super::random::{below, hash};

/// How pictures are varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Augment {
    /// Greatest shift in pixels, vertically and horizontally; what enters from outside is 0.
    pub shift: [usize; 2],
    /// Whether half of the pictures are mirrored.
    pub flip: bool,
}

impl Augment {
    /// For `data`: shifts up to `shift` of the extent, rounded down to pixels, and flips if wanted.
    /// Inputs that are not pictures are left alone.
    pub fn of(data: &Dataset, flip: bool, shift: f64) -> Self {
        match data.pixels {
            Pixels::U8(_) => Self {
                shift: [data.shape.h, data.shape.w].map(|n| (n as f64 * shift) as usize),
                flip,
            },
            Pixels::F32(_) => Self {
                shift: [0, 0],
                flip: false,
            },
        }
    }

    /// Writes image `index` as epoch `epoch` of a run with `seed` sees it; `plain` is scratch.
    ///
    /// # Panics
    /// If `index` is out of range or `out` is not one image long.
    pub fn input(&self, data: &Dataset, seed: u64, epoch: usize, index: usize, out: &mut [f32]) {
        const STREAM: u64 = 2;
        let shape = data.shape;
        let number = |what: u64| hash(&[seed, STREAM, epoch as u64, index as u64, what]);
        let dy = below(number(0), 2 * self.shift[0] + 1) as isize - self.shift[0] as isize;
        let dx = below(number(1), 2 * self.shift[1] + 1) as isize - self.shift[1] as isize;
        let flip = self.flip && number(2) & 1 == 1;
        if dy == 0 && dx == 0 && !flip {
            return data.input(index, out);
        }
        let mut plain = vec![0.0; shape.len()];
        data.input(index, &mut plain);
        for (row, to) in out.chunks_exact_mut(shape.w).enumerate() {
            let (c, y) = (row / shape.h, row % shape.h);
            let from = (y as isize + dy) as usize;
            if from >= shape.h {
                to.fill(0.0);
                continue;
            }
            let from = &plain[(c * shape.h + from) * shape.w..][..shape.w];
            for (x, to) in to.iter_mut().enumerate() {
                // A negative position wraps far beyond the row and is padding like one behind it.
                let at = (x as isize + dx) as usize;
                *to = match from.get(at) {
                    Some(_) if flip => from[shape.w - 1 - at],
                    Some(&v) => v,
                    None => 0.0,
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::float::Shape;
    use crate::ir::nested::Preprocessing;

    #[test]
    fn pictures_are_shifted_and_mirrored_copies() {
        let shape = Shape::map(2, 8, 16);
        let data = Dataset {
            shape,
            pixels: Pixels::U8((1..=shape.len()).map(|v| (v % 251) as u8 + 1).collect()),
            labels: None,
            class_count: 0,
            boxes: None,
            preprocessing: Preprocessing::identity(2),
        };
        let augment = Augment::of(&data, true, 0.125);
        assert_eq!(augment.shift, [1, 2]);
        let mut plain = vec![0.0; shape.len()];
        data.input(0, &mut plain);
        let mut seen = std::collections::BTreeSet::new();
        for epoch in 0..400 {
            let mut out = vec![-1.0; shape.len()];
            augment.input(&data, 3, epoch, 0, &mut out);
            let mut found = None;
            for dy in -1isize..=1 {
                for dx in -2isize..=2 {
                    for flip in [false, true] {
                        let same = (0..shape.len()).all(|i| {
                            let (c, y, x) = (i / 128, i / 16 % 8, i % 16);
                            let (sy, sx) = (y as isize + dy, x as isize + dx);
                            let inside = (0..8).contains(&sy) && (0..16).contains(&sx);
                            let sx = if flip { 15 - sx } else { sx };
                            let expected = if inside {
                                plain[c * 128 + sy as usize * 16 + sx as usize]
                            } else {
                                0.0
                            };
                            out[i] == expected
                        });
                        if same {
                            found = Some((dy, dx, flip));
                        }
                    }
                }
            }
            seen.insert(found.expect("a shifted copy"));
        }
        assert_eq!(seen.len(), 3 * 5 * 2, "all of them occur");
    }
}
