//! Damaged offers: whatever is done to them, no panic, no endless loop, and no bad answer.

use proptest::prelude::*;

use super::*;

/// A way to damage a text.
#[derive(Clone, Debug)]
enum Damage {
    /// Only the first part arrives.
    Cut(usize),
    /// One character is another one.
    Replace(usize, char),
    /// A line is missing.
    Drop(usize),
    /// A line comes again somewhere else.
    Copy(usize, usize),
    /// Two lines change places.
    Swap(usize, usize),
    /// A line of another offer gets in.
    Graft(usize, usize, usize),
    /// A number in a line is another one.
    Number(usize, u32),
}

/// Any damage.
fn damage() -> impl Strategy<Value = Damage> {
    let at = || 0..8192_usize;
    let character = prop_oneof![any::<char>(), proptest::char::range(' ', '~'), Just('\n'), Just('\0')];
    prop_oneof![
        1 => at().prop_map(Damage::Cut),
        3 => (at(), character).prop_map(|(at, character)| Damage::Replace(at, character)),
        3 => at().prop_map(Damage::Drop),
        3 => (at(), at()).prop_map(|(from, to)| Damage::Copy(from, to)),
        2 => (at(), at()).prop_map(|(one, other)| Damage::Swap(one, other)),
        3 => (at(), at(), at()).prop_map(|(offer, from, to)| Damage::Graft(offer, from, to)),
        2 => (at(), prop_oneof![0..300_u32, any::<u32>()]).prop_map(|(line, number)| Damage::Number(line, number)),
    ]
}

/// All captured offers.
fn offers() -> Vec<&'static str> {
    PRESENTERS.into_iter().chain(VIEWERS).map(|(_, offer)| offer).chain([OBS_SIMULCAST]).collect()
}

/// Applies a damage.
fn apply(text: &str, damage: &Damage) -> String {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let count = lines.len().max(1);
    match *damage {
        Damage::Cut(at) => return text.chars().take(at).collect(),
        Damage::Replace(at, character) => {
            let length = text.chars().count().max(1);
            return text.chars().enumerate().map(|(i, c)| if i == at % length { character } else { c }).collect();
        }
        Damage::Drop(line) if !lines.is_empty() => drop(lines.remove(line % count)),
        Damage::Copy(from, to) if !lines.is_empty() => {
            lines.insert(to % count, lines[from % count].clone());
        }
        Damage::Swap(one, other) if !lines.is_empty() => lines.swap(one % count, other % count),
        Damage::Graft(offer, from, to) if !lines.is_empty() => {
            let offers = offers();
            let other: Vec<&str> = offers[offer % offers.len()].split_inclusive('\n').collect();
            lines.insert(to % count, other[from % other.len()].to_owned());
        }
        Damage::Number(line, number) if !lines.is_empty() => {
            let line = &mut lines[line % count];
            if let Some(start) = line.find(|character: char| character.is_ascii_digit()) {
                let rest = line[start..].trim_start_matches(|character: char| character.is_ascii_digit()).to_owned();
                *line = format!("{}{number}{rest}", &line[..start]);
            }
        }
        _ => {}
    }
    lines.concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_offer_is_refused_or_answered_well(
        which in 0..16_usize,
        damages in prop::collection::vec(damage(), 1..6),
        codec in 0..3_usize,
    ) {
        let offers = offers();
        prop_assert_eq!(offers.len(), 16);
        let mut offer = offers[which].to_owned();
        for damage in &damages {
            offer = apply(&offer, damage);
        }
        let shape = match codec {
            0 => Shape::default(),
            1 => shape(&presented("obs", OBS_SIMULCAST)),
            _ => shape(&presented("firefox", PRESENTERS[5].1)),
        };

        let started = std::time::Instant::now();
        let (presented, viewed) = (present(&offer), view(&offer, &shape));
        prop_assert!(started.elapsed().as_secs() < 5);

        for (result, party) in [(presented, Party::Presenter), (viewed, Party::Viewer)] {
            if let Ok(negotiated) = result {
                let found = faults(&offer, &negotiated.answer, party);
                prop_assert!(found.is_empty(), "{:#?}\n{}\n{}", found, offer, negotiated.answer);
                prop_assert!(!negotiated.sections.is_empty() && !negotiated.fingerprints.is_empty());
            }
        }
    }

    #[test]
    fn noise_is_refused(text in "\\PC{0,400}") {
        prop_assert!(Offer::parse(&text).is_err());
        let with_header = format!("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n{text}");
        prop_assert!(Offer::parse(&with_header).is_err());
    }
}
