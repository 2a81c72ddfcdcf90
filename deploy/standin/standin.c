/* standin: stands in for train where only the launcher is tested. Ranks meet every tenth of a second for so many steps.
 * usage: standin STEPS SAVE_SECONDS [FOLDER]
 * SIGTERM, SIGINT or SIGUSR1: as train does, all ranks finish the step, take SAVE_SECONDS for a checkpoint and end with 130.
 * FOLDER: rank 0 keeps the number of the last step in FOLDER/step, and the next run goes on from there.
 * Needs mpicc of any MPI. Ends with 3 when it runs alone but was meant not to (STANDIN_RANKS is the number wanted). */
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t asked;
static void ask(int signal) { asked = signal; }

static void say(int rank, const char *what, int number) {
  char host[64] = "", line[256];
  struct timespec now;
  gethostname(host, sizeof host - 1);
  clock_gettime(CLOCK_REALTIME, &now);
  int n = snprintf(line, sizeof line, "%ld.%03ld rank %d on %s: %s %d\n", (long)now.tv_sec, now.tv_nsec / 1000000, rank, host, what, number);
  if (write(1, line, n) < 0) _exit(4);
}

static int load(const char *path) {
  int step = 0;
  FILE *f = fopen(path, "r");
  if (f && fscanf(f, "%d", &step) != 1) step = 0;
  if (f) fclose(f);
  return step;
}

static void save(const char *path, int step) {
  char temporary[4200];
  snprintf(temporary, sizeof temporary, "%s.new", path);
  FILE *f = fopen(temporary, "w");
  if (!f || fprintf(f, "%d\n", step) < 0 || fclose(f) || rename(temporary, path)) {
    perror(path);
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: standin STEPS SAVE_SECONDS [FOLDER]\n");
    return 2;
  }
  int rank, size, step = 0, steps = atoi(argv[1]);
  char path[4100];
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  signal(SIGTERM, ask);
  signal(SIGINT, ask);
  signal(SIGUSR1, ask);
  const char *wanted = getenv("STANDIN_RANKS");
  if (wanted && atoi(wanted) != size) {
    say(rank, "the number of ranks is", size);
    return 3;
  }
  if (argc > 3) {
    snprintf(path, sizeof path, "%s/step", argv[3]);
    step = load(path);
  }
  MPI_Bcast(&step, 1, MPI_INT, 0, MPI_COMM_WORLD);
  say(rank, "starts at step", step);
  int leave = 0;
  for (; step < steps && !leave; step++) {
    usleep(100000);
    int mine = asked;
    MPI_Allreduce(&mine, &leave, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    if (rank == 0 && argc > 3) save(path, step + 1);
  }
  if (leave) {
    say(rank, "was asked to end by signal", leave);
    for (int i = 0; i < atoi(argv[2]); i++) sleep(1);
    say(rank, "wrote its checkpoint at step", step);
  } else {
    say(rank, "is done at step", step);
  }
  /* MPICH 4.0 over UCX's TCP hangs in MPI_Finalize, more often than not, when a peer's last message is still under way. */
  MPI_Barrier(MPI_COMM_WORLD);
  usleep(300000);
  MPI_Finalize();
  return leave ? 130 : 0;
}
