//! Objects that are a `Vec<u8>` each.

use crate::memory::Memory;

/// The program's global allocator, with its own way to give memory back.
#[derive(Debug)]
pub struct Boxed {
    give_back: fn(),
}

impl Boxed {
    /// `give_back` asks the allocator to return what is free to the system.
    pub fn new(give_back: fn()) -> Self {
        Self { give_back }
    }
}

impl Memory for Boxed {
    type Object = Vec<u8>;

    fn store(&mut self, bytes: &[u8]) -> Vec<u8> {
        bytes.to_vec()
    }

    fn free(&mut self, object: Vec<u8>) {
        drop(object);
    }

    fn read(&self, object: &Vec<u8>, f: &mut dyn FnMut(&[u8])) {
        f(object);
    }

    fn give_back(&mut self) {
        (self.give_back)();
    }
}
