/// An object's bytes in place, as 1 to 8 slices in order.
#[derive(Debug, Clone, Copy)]
pub struct Slices<'a>(&'a [&'a [u8]]);

impl<'a> Slices<'a> {
    /// The most slices.
    pub const MAX: usize = 8;

    /// # Panics
    /// If there are none or more than [`MAX`](Self::MAX).
    pub fn new(parts: &'a [&'a [u8]]) -> Self {
        assert!((1..=Self::MAX).contains(&parts.len()), "an object has 1 to 8 slices");
        Self(parts)
    }

    /// The parts in order.
    pub fn parts(&self) -> &'a [&'a [u8]] {
        self.0
    }

    /// In bytes.
    #[expect(clippy::len_without_is_empty, reason = "an object has at least one byte")]
    pub fn len(&self) -> usize {
        self.0.iter().map(|part| part.len()).sum()
    }

    /// In order.
    pub fn bytes(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.0.iter().flat_map(|part| part.iter().copied())
    }

    /// A copy of the object.
    pub fn to_vec(&self) -> Vec<u8> {
        self.0.concat()
    }

    /// All bytes, if there is one slice.
    pub fn contiguous(&self) -> Option<&'a [u8]> {
        match self.0 {
            [whole] => Some(whole),
            _ => None,
        }
    }

    /// Copies to the start of `buffer`; `None` if it is too short.
    pub fn copy_to(&self, buffer: &mut [u8]) -> Option<usize> {
        let len = self.len();
        let mut rest = buffer.get_mut(..len)?;
        for part in self.0 {
            let (head, tail) = rest.split_at_mut(part.len());
            head.copy_from_slice(part);
            rest = tail;
        }
        Some(len)
    }
}
