//! What the user wants.

use std::time::Duration;

use clap::Args;

/// Watch a stream as many viewers, and measure what they get
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The WHEP endpoint, http:// or https://
    #[arg(long, value_name = "URL")]
    pub whep: String,
    /// Sent as `Authorization: Bearer TOKEN`
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// How many; with --stay the most at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub viewers: u32,
    /// How long they watch once all are there; with --stay how long viewers come and go
    #[arg(long, value_name = "S", default_value_t = 10)]
    pub seconds: u32,
    /// Viewers that join in a second [default: as fast as the server answers]
    #[arg(long, value_name = "R", value_parser = positive)]
    pub joins_per_second: Option<f64>,
    /// Viewers come and go: each stays so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    pub stay: Option<f64>,
    /// The share of viewers that vanish instead of saying goodbye, 0–1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub abrupt: f64,
    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Decrypt everything for every K-th viewer only; for the others what comes after the first key frame is counted
    #[arg(long, value_name = "1/K", default_value = "1/1", value_parser = sample)]
    pub sample: u32,
    /// Ask for lost packets as browsers do; by default a lost packet stays lost and is counted
    #[arg(long)]
    pub nack: bool,
    /// Media threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,
    /// HTTP requests at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub parallel: u32,
    /// Take any certificate of an https server
    #[arg(long)]
    pub insecure: bool,
}

impl Options {
    /// Between joins; zero is as fast as possible.
    pub(super) fn pace(&self) -> Duration {
        self.joins_per_second.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate))
    }

    /// How long a viewer stays, when viewers come and go.
    pub(super) fn stay(&self) -> Option<Duration> {
        self.stay.map(Duration::from_secs_f64)
    }

    /// How long to watch, or to come and go.
    pub(super) fn span(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    /// Does the `number`-th viewer to leave vanish? Spread evenly.
    pub(super) fn is_abrupt(&self, number: u64) -> bool {
        let before = (number as f64 * self.abrupt).floor();
        ((number + 1) as f64 * self.abrupt).floor() > before
    }
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.001..=1e6).contains(number));
    number.ok_or_else(|| "wanted a number from 0.001 to 1000000".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "wanted a number from 0 to 1".to_owned())
}

fn sample(text: &str) -> Result<u32, String> {
    let every = text.strip_prefix("1/").and_then(|every| every.parse().ok()).filter(|every| *every > 0);
    every.ok_or_else(|| "wanted 1/K, like 1/10".to_owned())
}

/// For `--help`.
pub const EXAMPLES: &str = "\
Examples:
  tribune load --whep http://localhost:8080/whep/live --viewers 100 --seconds 30
  tribune load --whep https://example.org/whep/live --token T --viewers 2000 --joins-per-second 50 --sample 1/20
  tribune load --whep http://localhost:8080/whep/live --viewers 100 --joins-per-second 20 --stay 3 --seconds 60 \\
               --abrupt 0.3                        viewers come and go, three in ten without a word

Every viewer has a UDP socket of its own and speaks ICE, DTLS and SRTP. Progress is on standard error.
Exit codes: 0 every viewer joined and got media, 1 not every one, 64 wrong usage, 74 the system refuses.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sensible_numbers_are_taken() {
        assert_eq!(sample("1/1"), Ok(1));
        assert_eq!(sample("1/20"), Ok(20));
        assert!(["", "20", "1/0", "2/3", "1/-1"].iter().all(|text| sample(text).is_err()));
        assert!(["0", "-1", "x", "inf", "NaN"].iter().all(|text| positive(text).is_err()));
        assert!(["-0.1", "1.1", "NaN"].iter().all(|text| share(text).is_err()));
    }

    #[test]
    fn those_that_vanish_are_spread_evenly() {
        let options = |abrupt| Options {
            whep: String::new(),
            token: None,
            viewers: 1,
            seconds: 1,
            joins_per_second: None,
            stay: None,
            abrupt,
            json: false,
            sample: 1,
            nack: false,
            threads: 1,
            parallel: 1,
            insecure: false,
        };
        let count = |abrupt| (0..1_000).filter(|number| options(abrupt).is_abrupt(*number)).count();

        assert_eq!((count(0.0), count(1.0), count(0.5)), (0, 1_000, 500));
        assert!((299..=300).contains(&count(0.3)));
    }
}
