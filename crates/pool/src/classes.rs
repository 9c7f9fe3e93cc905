//! How zsmalloc packs objects into chains of frames (zspages).
//!
//! A size takes the chain that wastes least; a power of two takes one frame. Sizes of the same (frames, objects) merge.
//! A huge class has one object in one frame, without a header.
//!
//! Idea and defaults: Linux's zsmalloc, from its public discussion.

mod expect;

use thiserror::Error;

pub use expect::{ClassExpectation, Expectation};

/// The layout of a table; all but `chain_max` in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassConfig {
    /// A power of two, [`FRAME_MIN`](Self::FRAME_MIN) to [`FRAME_MAX`](Self::FRAME_MAX); the largest size.
    pub frame_bytes: usize,
    /// The smallest size.
    pub smallest: usize,
    /// Divides a frame, or the range from the smallest size to a frame.
    pub step: usize,
    /// 1 to [`CHAIN_MAX`](Self::CHAIN_MAX) frames.
    pub chain_max: u32,
    /// Beside each object that is not huge.
    pub header_bytes: usize,
}

impl ClassConfig {
    /// In bytes.
    pub const FRAME_MIN: usize = 256;
    /// In bytes.
    pub const FRAME_MAX: usize = 64 << 10;
    /// In frames.
    pub const CHAIN_MAX: u32 = 64;
}

impl Default for ClassConfig {
    /// 4 KiB frames, sizes 32, 48, .. 4096, chains up to 8, 8-byte headers.
    fn default() -> Self {
        Self { frame_bytes: 4096, smallest: 32, step: 16, chain_max: 8, header_bytes: 8 }
    }
}

/// An invalid configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClassConfigError {
    /// Not a power of two within bounds.
    #[error(
        "a frame of {frame_bytes} bytes is not possible; choose a power of two from {} to {}",
        ClassConfig::FRAME_MIN,
        ClassConfig::FRAME_MAX
    )]
    Frame {
        /// As given.
        frame_bytes: usize,
    },
    /// Zero, or larger than a frame.
    #[error(
        "a smallest size of {smallest} bytes is not possible; choose 1 to {frame_bytes}, a frame"
    )]
    Smallest {
        /// As given.
        smallest: usize,
        /// A frame.
        frame_bytes: usize,
    },
    /// The steps miss the frame size.
    #[error(
        "steps of {step} bytes do not lead from a smallest size of {smallest} to a frame of {frame_bytes}; choose a divisor of {} or of {frame_bytes}",
        frame_bytes - smallest
    )]
    Step {
        /// As given.
        step: usize,
        /// As given.
        smallest: usize,
        /// A frame.
        frame_bytes: usize,
    },
    /// Outside the bounds.
    #[error(
        "chains of up to {chain_max} frames are not possible; choose 1 to {}",
        ClassConfig::CHAIN_MAX
    )]
    Chain {
        /// As given.
        chain_max: u32,
    },
    /// No room for an object.
    #[error("a header of {header_bytes} bytes leaves no room in a frame of {frame_bytes}")]
    Header {
        /// As given.
        header_bytes: usize,
        /// A frame.
        frame_bytes: usize,
    },
}

/// A size class after merging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Class {
    /// Smallest merged size, in bytes.
    pub size_min: usize,
    /// Bytes of a slot.
    pub size: usize,
    /// In a zspage.
    pub frames: u32,
    /// Slots of a zspage.
    pub objects: u32,
}

impl Class {
    /// One object in one frame.
    pub fn is_huge(&self) -> bool {
        self.frames == 1 && self.objects == 1
    }

    /// Bytes behind the last slot.
    pub fn waste(&self, frame_bytes: usize) -> usize {
        self.frames as usize * frame_bytes - self.objects as usize * self.size
    }

    /// Counts slots in more than one frame.
    pub fn spanning(&self, frame_bytes: usize) -> u32 {
        let frame_of = |byte: usize| byte / frame_bytes;
        let spans = |place: &usize| {
            let start = place * self.size;
            frame_of(start) != frame_of(start + self.size - 1)
        };
        let count = (0..self.objects as usize).filter(spans).count();
        u32::try_from(count).expect("no more than there are places")
    }
}

/// The classes, and the one of each length.
///
/// # Invariants
/// - Classes rise in size, up to a frame.
/// - Each size is in exactly one class, of its own frames and objects, and not larger than that class.
/// - A chain fits its objects. No allowed chain wastes less, unless the size is a power of two.
///
/// # Examples
/// ```
/// use pagefold_pool::classes::{ClassConfig, ClassTable};
///
/// let table = ClassTable::new(ClassConfig::default())?;
/// assert_eq!((table.sizes(), table.classes().len()), (255, 119));
/// let class = table.class_of(1000).expect("shorter than a frame");
/// assert_eq!((class.size_min, class.size, class.frames, class.objects), (1008, 1024, 1, 4));
/// assert!(table.class_of(4000).is_some_and(|class| class.is_huge()));
/// assert!(table.class_of(5000).is_none());
/// # Ok::<(), pagefold_pool::classes::ClassConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassTable {
    config: ClassConfig,
    classes: Box<[Class]>,
    by_size: Box<[u16]>,
}

impl ClassTable {
    /// Builds the table.
    ///
    /// # Errors
    /// [`ClassConfigError`].
    pub fn new(config: ClassConfig) -> Result<Self, ClassConfigError> {
        check(config)?;
        let ClassConfig { frame_bytes, smallest, step, .. } = config;
        let below = (smallest..frame_bytes).step_by(step);
        let sizes: Vec<usize> = below.chain([frame_bytes]).collect();
        let mut classes: Vec<Class> = Vec::new();
        let mut descending = Vec::with_capacity(sizes.len());
        for &size in sizes.iter().rev() {
            let (frames, objects) = layout(size, config);
            match classes.last_mut() {
                Some(class) if (class.frames, class.objects) == (frames, objects) => {
                    class.size_min = size;
                }
                _ => classes.push(Class { size_min: size, size, frames, objects }),
            }
            descending.push(classes.len() - 1);
        }
        classes.reverse();
        let last = classes.len() - 1;
        let index = |from_last| u16::try_from(last - from_last).expect("at most 65536 sizes");
        let by_size = descending.into_iter().rev().map(index).collect();
        let table = Self { config, classes: classes.into(), by_size };
        debug_assert_eq!(table.check(), Ok(()));
        Ok(table)
    }

    /// Its configuration.
    pub fn config(&self) -> &ClassConfig {
        &self.config
    }

    /// Smallest first.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// Before merging.
    pub fn sizes(&self) -> usize {
        self.by_size.len()
    }

    /// As [`class_of`](Self::class_of), by index.
    #[inline]
    pub fn index_of(&self, len: usize) -> Option<usize> {
        let bare = self.index_for_size(len)?;
        if self.classes[bare].is_huge() {
            return Some(bare);
        }
        // `None` if length and header exceed a frame.
        self.index_for_size(len + self.config.header_bytes)
    }

    /// The class of an object; `None` if longer than a frame.
    #[inline]
    pub fn class_of(&self, len: usize) -> Option<&Class> {
        self.index_of(len).map(|index| &self.classes[index])
    }

    #[inline]
    fn index_for_size(&self, bytes: usize) -> Option<usize> {
        // The last step may be shorter.
        if bytes > self.config.frame_bytes {
            return None;
        }
        let above = bytes.saturating_sub(self.config.smallest).div_ceil(self.config.step);
        self.by_size.get(above).map(|&index| usize::from(index))
    }

    /// Checks the invariants.
    ///
    /// # Errors
    /// The first violation.
    pub fn check(&self) -> Result<(), String> {
        let ClassConfig { frame_bytes, smallest, step, chain_max, .. } = self.config;
        let mut expected_min = smallest;
        for class in &self.classes {
            let Class { size_min, size, frames, objects } = *class;
            if size_min != expected_min || size < size_min {
                return Err(format!("{class:?} does not follow the class before it"));
            }
            expected_min = match size {
                last if last == frame_bytes => frame_bytes + 1,
                _ => (size + step).min(frame_bytes),
            };
            let fits = objects as usize * size <= frames as usize * frame_bytes;
            if objects == 0 || frames == 0 || frames > chain_max || !fits {
                return Err(format!("{class:?} does not hold its objects"));
            }
            for member in (size_min..size).step_by(step).chain([size]) {
                if layout(member, self.config) != (frames, objects) {
                    return Err(format!("a size of {member} does not belong to {class:?}"));
                }
                if self.index_for_size(member).map(|index| &self.classes[index]) != Some(class) {
                    return Err(format!("a size of {member} is not found in {class:?}"));
                }
            }
            let waste = class.waste(frame_bytes);
            let less = (1..=chain_max).find(|&other| other as usize * frame_bytes % size < waste);
            match less {
                Some(other) if !size.is_power_of_two() => {
                    return Err(format!("a chain of {other} wastes less than {class:?}"));
                }
                _ => {}
            }
        }
        if expected_min != frame_bytes + 1 {
            return Err("the last size is not a frame".to_owned());
        }
        Ok(())
    }
}

fn layout(size: usize, config: ClassConfig) -> (u32, u32) {
    let waste = |frames: &u32| *frames as usize * config.frame_bytes % size;
    let frames = match size.is_power_of_two() {
        true => 1,
        false => (1..=config.chain_max).min_by_key(waste).expect("a chain has a frame at least"),
    };
    let objects = frames as usize * config.frame_bytes / size;
    (frames, u32::try_from(objects).expect("a chain has at most 64 frames of 64 KiB"))
}

fn check(config: ClassConfig) -> Result<(), ClassConfigError> {
    let ClassConfig { frame_bytes, smallest, step, chain_max, header_bytes } = config;
    let frames = ClassConfig::FRAME_MIN..=ClassConfig::FRAME_MAX;
    if !frame_bytes.is_power_of_two() || !frames.contains(&frame_bytes) {
        return Err(ClassConfigError::Frame { frame_bytes });
    }
    if !(1..=frame_bytes).contains(&smallest) {
        return Err(ClassConfigError::Smallest { smallest, frame_bytes });
    }
    let divides = |bytes: usize| bytes.is_multiple_of(step);
    if step == 0 || !(divides(frame_bytes - smallest) || divides(frame_bytes)) {
        return Err(ClassConfigError::Step { step, smallest, frame_bytes });
    }
    if !(1..=ClassConfig::CHAIN_MAX).contains(&chain_max) {
        return Err(ClassConfigError::Chain { chain_max });
    }
    if header_bytes >= frame_bytes {
        return Err(ClassConfigError::Header { header_bytes, frame_bytes });
    }
    Ok(())
}

#[cfg(all(test, not(loom)))]
mod tests;
