# SPDX-License-Identifier: Apache-2.0
# Sourced by tests: a real Slurm of two nodes on this machine, in a directory of its own, with its
# own munged, next to any other Slurm. slurm_start DIR, slurm_stop DIR. Needs root.

# Prints what is missing; nothing when a Slurm can be started.
slurm_lacks() {
  [ "$(id -u)" -eq 0 ] || { echo "root is needed to start slurmd"; return; }
  local program
  for program in munged slurmctld slurmd srun sbatch scontrol runuser ss; do
    command -v "$program" >/dev/null || { echo "$program is not installed"; return; }
  done
  id munge >/dev/null 2>&1 || { echo "there is no user munge"; return; }
  compgen -G "/usr/lib/*/slurm-wlm/mpi_pmix*.so" >/dev/null || echo "this Slurm has no PMIx plugin"
}

# The first of three ports in a row that nobody listens on.
slurm_ports() {
  local first used
  used=$(ss -Hltn | sed 's/.*:\([0-9]*\) .*/\1/')
  for first in $(seq $((20000 + $$ % 9000)) 3 60000); do
    grep -qxE "$first|$((first + 1))|$((first + 2))" <<<"$used" || { echo "$first"; return; }
  done
}

slurm_start() {
  local dir=$1 host port node
  host=$(hostname -s)
  port=$(slurm_ports)
  mkdir -p "$dir"/{munge,state,log,spool/n1,spool/n2,tmp/n1,tmp/n2}
  chmod 755 "$dir" "$dir/munge"  # munged trusts no socket in a closed or writable place
  head -c 1024 /dev/urandom >"$dir/munge/key"
  chown -R munge:munge "$dir/munge"
  chmod 400 "$dir/munge/key"
  runuser -u munge -- munged --force --socket="$dir/munge/socket" --key-file="$dir/munge/key" \
    --pid-file="$dir/munge/pid" --log-file="$dir/munge/log" --seed-file="$dir/munge/seed" || return
  export SLURM_CONF=$dir/slurm.conf
  # cred_expire: a requeued job waits that long. TmpFS with %n: the nodes share one file system.
  cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket,cred_expire=5
MpiDefault=pmix
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
JobRequeue=1
KillWait=5
ReturnToService=2
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
TmpFS=$dir/tmp/%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd-%n.log
NodeName=n[1-2] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((port + 1))-$((port + 2))] CPUs=$(nproc --all) RealMemory=500
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
  slurmctld -c || return
  for node in n1 n2; do slurmd -N "$node" || return; done
  # The nodes share /dev/shm but are not told so: shared-memory transport would crash.
  export OMPI_MCA_btl=tcp,self OMPI_MCA_btl_tcp_if_include=lo
  local try
  for try in $(seq 80); do
    [ "$(sinfo -h -o %T 2>/dev/null | sort -u)" = idle ] && return 0
    sleep 0.25
  done
  echo "slurm did not come up" >&2
  tail -n 20 "$dir"/log/*.log "$dir/munge/log" >&2
  return 1
}

# Ends the processes whose ids stand in the files named, kindly, then for sure.
slurm_end() {
  local pids try
  pids=$(cat "$@" 2>/dev/null)
  [ -n "$pids" ] || return 0
  kill $pids 2>/dev/null
  for try in $(seq 24); do
    kill -0 $pids 2>/dev/null || return 0
    sleep 0.25
  done
  kill -KILL $pids 2>/dev/null
}

# Ends only what slurm_start started; munged last, the others still talk through it.
slurm_stop() {
  local dir=$1
  scancel --user=root --signal=KILL --full 2>/dev/null
  scancel --user=root 2>/dev/null
  sleep 0.5
  slurm_end "$dir"/slurmd-*.pid "$dir/slurmctld.pid"
  slurm_end "$dir/munge/pid"
  return 0
}
