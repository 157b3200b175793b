//! What the user wants.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;

use super::presenter::Shape;

/// Watch a stream as many viewers, and measure what they get
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Options {
    /// The WHEP endpoint, http:// or https://
    #[arg(long, value_name = "URL", required_unless_present = "whip")]
    pub whep: Option<String>,
    /// Sent to the WHEP endpoint as `Authorization: Bearer TOKEN`
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Present, too: a stream of an exact shape, whose packets tell how long they were on their way; without --whep
    /// nothing else
    #[arg(long, value_name = "URL")]
    pub whip: Option<String>,
    /// Sent to the WHIP endpoint as `Authorization: Bearer TOKEN`
    #[arg(long, value_name = "TOKEN", requires = "whip")]
    pub whip_token: Option<String>,
    /// Video of --whip, in kbit/s: packets of 1150 bytes, key frames four times as large as other pictures
    #[arg(long, value_name = "KBIT/S", default_value_t = 2_500, requires = "whip", value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub bitrate: u32,
    /// Pictures a second of --whip
    #[arg(long, value_name = "N", default_value_t = 30, requires = "whip", value_parser = clap::value_parser!(u32).range(1..=240))]
    pub fps: u32,
    /// Seconds between key frames of --whip
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, requires = "whip", value_parser = positive)]
    pub keyframe_interval: f64,
    /// No audio (50 packets a second) with --whip
    #[arg(long, requires = "whip")]
    pub no_audio: bool,
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
    /// Only every K-th viewer reads everything; for the others the kernel drops media after the first whole key frame, so
    /// that thousands can be carried. Rates are then estimated for all, loss and delay are those of the ones that read
    #[arg(long, value_name = "1/K", default_value = "1/1", value_parser = sample)]
    pub sample: u32,
    /// Send media packets, checks and handshakes from this address of the machine [default: as the system chooses]
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<IpAddr>,
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

    /// What is presented.
    pub(super) fn shape(&self) -> Shape {
        Shape {
            bitrate: u64::from(self.bitrate) * 1_000,
            fps: self.fps,
            keyframes: Duration::from_secs_f64(self.keyframe_interval),
            audio: !self.no_audio,
        }
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
  tribune load --whip http://localhost:8080/whip/live --whip-token T --whep http://localhost:8080/whep/live \\
               --viewers 500                       presents, too: 2.5 Mbit/s of video and audio, and times its packets

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
            whep: None,
            token: None,
            whip: None,
            whip_token: None,
            bitrate: 1,
            fps: 1,
            keyframe_interval: 1.0,
            no_audio: false,
            viewers: 1,
            seconds: 1,
            joins_per_second: None,
            stay: None,
            abrupt,
            json: false,
            sample: 1,
            from: None,
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
