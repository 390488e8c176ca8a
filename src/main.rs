//! The program as it comes.

fn main() -> std::process::ExitCode {
    kafka_actors::Program::new().run()
}
