//! The command line. Everything it runs is in the library.

use std::{env, io::Write as _, process::ExitCode};

use sluicegate::shell::{
    args::{self, Command},
    commands, output,
};

fn main() -> ExitCode {
    let command = match args::parse(env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => return fail(&error, 2),
    };
    let result = match command {
        Command::Serve { config } => commands::serve(&config),
        #[cfg(feature = "demo")]
        Command::Demo { http, rtmp } => commands::demo(http, rtmp),
        #[cfg(not(feature = "demo"))]
        Command::Demo { .. } => Err((
            String::from("this build has no demonstration: build it with the feature `demo`"),
            2,
        )),
        Command::Check { config } => commands::check(&config),
        Command::Sign(sign) => commands::sign(&sign),
        Command::Status { is_json, is_watch, config } => {
            commands::status(is_json, is_watch, &config)
        }
        Command::Store { is_verify, config } => commands::store(is_verify, &config),
        Command::Version => Ok(format!("sluicegate {}\n", env!("CARGO_PKG_VERSION"))),
        Command::Help => Ok(String::from(args::HELP)),
    };
    match result.and_then(|text| output::print(&text).map_err(|error| (error, 1))) {
        Ok(_) => ExitCode::SUCCESS,
        Err((error, code)) => fail(&error, code),
    }
}

fn fail(error: &str, code: u8) -> ExitCode {
    let mut stderr = std::io::stderr();
    for line in error.lines() {
        let _ = writeln!(stderr, "sluicegate: {line}");
    }
    ExitCode::from(code)
}
