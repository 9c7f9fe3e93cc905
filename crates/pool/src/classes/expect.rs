//! Density and spanning objects for given lengths.

use super::{Class, ClassTable};

/// The figures of one class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassExpectation {
    /// The class.
    pub class: Class,
    /// Objects in it.
    pub objects: u64,
    /// Their bytes.
    pub payload_bytes: u64,
    /// Frame bytes if every zspage is full.
    pub frame_bytes: f64,
}

impl ClassExpectation {
    /// Payload bytes / frame bytes; `None` without objects.
    pub fn density(&self) -> Option<f64> {
        (self.objects > 0).then(|| self.payload_bytes as f64 / self.frame_bytes)
    }
}

/// A table's figures for given lengths, if every zspage is full.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// Ascending.
    pub classes: Vec<ClassExpectation>,
    /// Objects longer than a frame.
    pub too_long: u64,
    /// The part of the objects in two frames.
    pub spanning: f64,
}

impl Expectation {
    /// In all classes.
    pub fn objects(&self) -> u64 {
        self.classes.iter().map(|class| class.objects).sum()
    }

    /// In all classes.
    pub fn payload_bytes(&self) -> u64 {
        self.classes.iter().map(|class| class.payload_bytes).sum()
    }

    /// Payload bytes / frame bytes; `None` without objects.
    pub fn density(&self) -> Option<f64> {
        let frame_bytes: f64 = self.classes.iter().map(|class| class.frame_bytes).sum();
        (frame_bytes > 0.0).then(|| self.payload_bytes() as f64 / frame_bytes)
    }
}

impl ClassTable {
    /// For so many objects of each length.
    ///
    /// # Examples
    /// ```
    /// use pagefold_pool::classes::{ClassConfig, ClassTable};
    ///
    /// let table = ClassTable::new(ClassConfig::default())?;
    /// let uniform = table.expect((32..=4096).map(|len| (len, 1)));
    /// assert_eq!(format!("{:.3}", uniform.density().expect("there are objects")), "0.970");
    /// # Ok::<(), pagefold_pool::classes::ClassConfigError>(())
    /// ```
    pub fn expect(&self, lengths: impl IntoIterator<Item = (usize, u64)>) -> Expectation {
        let none =
            |&class| ClassExpectation { class, objects: 0, payload_bytes: 0, frame_bytes: 0.0 };
        let mut classes: Vec<_> = self.classes().iter().map(none).collect();
        let mut too_long = 0;
        for (len, count) in lengths {
            match self.index_of(len) {
                Some(index) => {
                    classes[index].objects += count;
                    classes[index].payload_bytes += len as u64 * count;
                }
                None => too_long += count,
            }
        }
        let frame = self.config().frame_bytes;
        let (mut objects, mut spanning) = (0.0, 0.0);
        for expected in &mut classes {
            let Class { frames, objects: places, .. } = expected.class;
            let share = f64::from(frames) * frame as f64 / f64::from(places);
            expected.frame_bytes = share * expected.objects as f64;
            objects += expected.objects as f64;
            let in_two = f64::from(expected.class.spanning(frame)) / f64::from(places);
            spanning += in_two * expected.objects as f64;
        }
        let spanning = if objects > 0.0 { spanning / objects } else { 0.0 };
        Expectation { classes, too_long, spanning }
    }
}
