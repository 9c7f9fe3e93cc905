//! Generated documents: profiles, orders, log events, places, articles.
//!
//! They repeat keys and common words; numbers, identifiers and times hardly repeat. Early words of a list are
//! frequent.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

const WORDS: &str = "the of and to in a is that for it as was with be by on not he this are or his from at which but \
    have an had they you were their one all we can her has there been if more when will would who so no out up into \
    order customer account invoice service request response session payment product warehouse delivery shipping \
    address standard premium discount balance currency category available pending completed cancelled refunded \
    system network server database cache latency timeout connection retry failure success warning critical memory \
    storage volume backup snapshot cluster region zone container image deployment release version configuration \
    monday tuesday wednesday thursday friday morning evening yesterday tomorrow week month quarter report summary \
    analysis review feedback support ticket assigned resolved escalated priority severity description attachment \
    mountain river village harbour station library museum garden market bridge castle forest island valley cathedral";

const NAMES: &str = "Anna Boris Clara David Elena Felix Greta Hugo Irene Jonas Katja Liam Maria Noah Olga Paul Rosa \
    Samuel Tara Ulrich Vera Walter Xenia Yusuf Zoe Adler Becker Conrad Dietrich Ebert Fischer Graf Hoffmann Ivanova \
    Jansen Keller Lehmann Meyer Neumann Otto Petrov Richter Schmidt Tanaka Unger Vogel Weber Yilmaz Zimmermann";

pub(super) struct Documents {
    rng: ChaCha8Rng,
    words: Vec<&'static str>,
    names: Vec<&'static str>,
    next_id: u64,
}

impl Documents {
    pub(super) fn new(seed: u64) -> Self {
        let list = |text: &'static str| text.split_whitespace().collect();
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            words: list(WORDS),
            names: list(NAMES),
            next_id: 1,
        }
    }

    /// On one line, 0.2 to 6 KiB long.
    pub(super) fn next_document(&mut self) -> String {
        self.next_id += self.rng.random_range(1..4);
        let document = match self.rng.random_range(0..10) {
            0..3 => self.profile(),
            3..6 => self.order(),
            6..8 => self.log_event(),
            8 => self.place(),
            _ => self.article(),
        };
        document.to_string()
    }

    fn profile(&mut self) -> Value {
        let (first, last) = (self.name(), self.name());
        let tags: Vec<_> = (0..self.rng.random_range(0..6)).map(|_| self.word()).collect();
        json!({
            "type": "profile",
            "id": self.next_id,
            "uuid": self.uuid(),
            "name": {"first": first, "last": last},
            "email": format!("{}.{}@example.com", first.to_lowercase(), last.to_lowercase()),
            "active": self.rng.random_bool(0.8),
            "balance": self.cents(100_000),
            "created_at": self.time(),
            "updated_at": self.time(),
            "tags": tags,
            "address": {
                "street": format!("{} Street {}", self.name(), self.rng.random_range(1..200)),
                "zip": format!("{:05}", self.rng.random_range(0..100_000)),
                "city": self.name(),
                "country": (["DE", "FR", "US", "JP", "BR"])[self.rng.random_range(0..5)],
            },
            "preferences": {"newsletter": self.rng.random_bool(0.3), "language": "en", "theme": "dark"},
            "avatar": null,
        })
    }

    fn order(&mut self) -> Value {
        let count = self.rng.random_range(1..12);
        let items: Vec<_> = (0..count)
            .map(|line| {
                json!({
                    "line": line + 1,
                    "sku": format!("{}-{:06}", self.word().to_uppercase(), self.rng.random_range(0..1_000_000)),
                    "title": self.sentence(4),
                    "quantity": self.rng.random_range(1..10),
                    "unit_price": self.cents(50_000),
                    "tax_rate": 0.19,
                })
            })
            .collect();
        json!({
            "type": "order",
            "id": self.next_id,
            "customer_id": self.rng.random_range(1..100_000),
            "status": (["pending", "paid", "shipped", "delivered", "cancelled"])[self.rng.random_range(0..5)],
            "placed_at": self.time(),
            "items": items,
            "total": self.cents(1_000_000),
            "currency": "EUR",
            "payment": {"method": "card", "token": self.uuid(), "last4": self.rng.random_range(1000..10_000)},
        })
    }

    fn log_event(&mut self) -> Value {
        let level = ["DEBUG", "INFO", "INFO", "INFO", "WARN", "ERROR"][self.rng.random_range(0..6)];
        json!({
            "@timestamp": self.time(),
            "level": level,
            "logger": format!("com.example.{}.{}", self.word(), self.word()),
            "thread": format!("worker-{}", self.rng.random_range(0..32)),
            "trace_id": self.uuid(),
            "message": self.sentence(10),
            "http": {
                "method": (["GET", "GET", "GET", "POST", "PUT"])[self.rng.random_range(0..5)],
                "path": format!("/api/v1/{}/{}", self.word(), self.rng.random_range(1..1_000_000)),
                "status": ([200, 200, 200, 201, 304, 404, 500])[self.rng.random_range(0..7)],
                "duration_ms": self.cents(90_000),
            },
            "host": format!("node-{:02}.eu-central.example.com", self.rng.random_range(0..48)),
        })
    }

    fn place(&mut self) -> Value {
        let (latitude, longitude) =
            (self.rng.random_range(-60.0..70.0), self.rng.random_range(-180.0..180.0));
        let count = self.rng.random_range(8..80);
        let ring: Vec<[f64; 2]> = (0..count)
            .map(|_| {
                [
                    longitude + self.rng.random_range(-0.01..0.01),
                    latitude + self.rng.random_range(-0.01..0.01),
                ]
            })
            .collect();
        json!({
            "type": "Feature",
            "id": self.next_id,
            "properties": {"name": self.sentence(2), "kind": self.word(), "population": self.rng.random_range(0..500_000)},
            "geometry": {"type": "Polygon", "coordinates": [ring]},
        })
    }

    fn article(&mut self) -> Value {
        let paragraphs: Vec<_> = (0..self.rng.random_range(2..8))
            .map(|_| self.rng.random_range(20..120))
            .collect::<Vec<usize>>();
        let body: Vec<_> = paragraphs.into_iter().map(|length| self.sentence(length)).collect();
        json!({
            "type": "article",
            "id": self.next_id,
            "title": self.sentence(6),
            "author": format!("{} {}", self.name(), self.name()),
            "published": self.time(),
            "views": self.rng.random_range(0..1_000_000),
            "body": body,
        })
    }

    fn word(&mut self) -> &'static str {
        let skewed = self.rng.random::<f64>().powi(2) * self.words.len() as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "rounded down on purpose, below len"
        )]
        self.words[skewed as usize]
    }

    fn name(&mut self) -> &'static str {
        self.names[self.rng.random_range(0..self.names.len())]
    }

    fn sentence(&mut self, words: usize) -> String {
        let words: Vec<_> = (0..words).map(|_| self.word()).collect();
        words.join(" ")
    }

    fn uuid(&mut self) -> String {
        let text = format!("{:032x}", self.rng.random::<u128>());
        format!(
            "{}-{}-{}-{}-{}",
            &text[..8],
            &text[8..12],
            &text[12..16],
            &text[16..20],
            &text[20..]
        )
    }

    fn cents(&mut self, limit: u32) -> f64 {
        f64::from(self.rng.random_range(0..limit)) / 100.0
    }

    fn time(&mut self) -> String {
        let mut part = |from: u32, to: u32| self.rng.random_range(from..to);
        let (month, day, hour, minute, second) =
            (part(1, 13), part(1, 29), part(0, 24), part(0, 60), part(0, 60));
        format!("2025-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", part(0, 1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_valid_of_moderate_length_and_of_each_kind() {
        let mut documents = Documents::new(5);
        let mut kinds = std::collections::BTreeSet::new();
        for _ in 0..2000 {
            let text = documents.next_document();
            assert!((150..8000).contains(&text.len()) && !text.contains('\n'), "{text}");
            let value: Value = serde_json::from_str(&text).unwrap();
            kinds.insert(value.get("type").and_then(Value::as_str).unwrap_or("log").to_owned());
        }
        assert_eq!(
            kinds.into_iter().collect::<Vec<_>>(),
            ["Feature", "article", "log", "order", "profile"]
        );
    }

    #[test]
    fn the_seed_decides() {
        let first = |seed| Documents::new(seed).next_document();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }
}
