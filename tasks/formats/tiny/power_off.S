# The init of the guest that shows whether KVM works: it says a few words and powers the machine off.
# TEXT is what it says, in quotes. Assembled by tests/formats/test_tiny_programs.py, whose bytes must be
# those of tiny_programs.say_and_power_off.
        .globl _start
_start: mov     $1, %eax                # write
        mov     $1, %edi                # to the console
        mov     $text, %esi
        mov     $(end - text), %edx
        syscall
        mov     $169, %eax              # reboot
        mov     $0xfee1dead, %edi       # LINUX_REBOOT_MAGIC1
        mov     $0x28121969, %esi       # LINUX_REBOOT_MAGIC2
        mov     $0x4321fedc, %edx       # LINUX_REBOOT_CMD_POWER_OFF
        syscall
stop:   jmp     stop                    # an init must not end
text:   .ascii  TEXT
end:
